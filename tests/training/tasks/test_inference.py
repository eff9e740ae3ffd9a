"""A network over samples in memory: windows, and refusals of what is not finite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deo.bands import BandSet
from deo.contracts import fit_contract
from deo.errors import DataError
from deo.training.tasks.dataset import Sample, Unit
from deo.training.tasks.heads import Classifier, Network
from deo.training.tasks.inference import confusions, sample_probabilities
from deo.training.tasks.patches import Examples
from deo.training.tasks.task import Benchmark, Task

BANDS = BandSet(("B8A", "B11"))


class FirstOrSecond(Network):
    """The two bands are the scores of two classes, pixel by pixel."""

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__(nn.Identity(), nn.Identity(), frozen=True)
        self.bias = bias

    def forward(self, images: Tensor) -> Tensor:
        return images + self.bias


class Halves:
    """The left half is of class 0, the right half of class 1."""

    bands = BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"test": ("0", "1")}

    def read(self, root: Path, name: str) -> Sample:
        mask = np.repeat([[0, 1]], 35, axis=1) * np.ones((70, 1), np.int64)
        image = 4000 * np.stack((1 - mask, mask)).astype(np.float32)
        return Sample(image, mask, np.ones(mask.shape, bool))


@pytest.fixture
def halves() -> tuple[Benchmark, Examples]:
    bench = Benchmark(
        name="halves", task=Task.SEGMENT, classes=2, layout=Halves(), metric="macro_iou"
    )
    split = bench.open(Path())["test"]
    contract = fit_contract("stats", bands=BANDS, mean=(0.0, 0.0), std=(1.0, 1.0))
    return bench, Examples(split=split, unit=Unit.DN, contract=contract)


def test_sample_probabilities__tiles_equal_the_whole_for_a_local_network() -> None:
    image = torch.randn(2, 50, 41)
    shares = sample_probabilities(FirstOrSecond(), image, size=16)
    torch.testing.assert_close(shares, image.softmax(0))


def test_sample_probabilities__of_a_tile_are_the_mean_of_its_windows() -> None:
    class Means(Classifier):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    image = torch.randn(2, 8, 14)
    windows = [image[:, :, start : start + 8] for start in (0, 6)]
    wanted = torch.stack([window.mean((1, 2)).softmax(0) for window in windows]).mean(0)
    network = Means(nn.Identity(), nn.Identity(), frozen=True)
    torch.testing.assert_close(sample_probabilities(network, image, size=8), wanted)


@pytest.mark.parametrize("size", [512, 32])
def test_confusions__one_matrix_per_block(halves: tuple[Benchmark, Examples], size: int) -> None:
    bench, examples = halves
    matrices, samples = confusions(FirstOrSecond(), examples, bench, size=size)
    assert samples == ("0",) * 4 + ("1",) * 4
    assert matrices.shape == (2 * 4, 2, 2)  # 70 x 70 pixels are four blocks of 64 or less
    assert matrices.sum(0).tolist() == [[2 * 70 * 35, 0], [0, 2 * 70 * 35]]


def test_confusions__no_class_is_read_from_scores_that_are_not_finite(
    halves: tuple[Benchmark, Examples],
) -> None:
    bench, examples = halves
    with pytest.raises(DataError, match="scores of 0 are not finite"):
        confusions(FirstOrSecond(bias=float("inf")), examples, bench, size=70)
