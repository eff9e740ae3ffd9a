"""Patches of samples: a function of seed and epoch alone, masks and images alike."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deo.bands import MODEL_BANDS, BandSet
from deo.contracts import fit_contract
from deo.errors import ConfigError
from deo.training.tasks.dataset import Sample, Split, Unit
from deo.training.tasks.patches import Example, Examples, batches, patch_count, training_size
from deo.training.tasks.scores import IGNORE


class Bright:
    """A bright square on dark ground, 64 pixels wide; the first row of the mask is unknown."""

    reads = 0

    @property
    def bands(self) -> BandSet:
        return MODEL_BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"all": ("0", "1", "2", "3")}

    def read(self, root: Path, name: str) -> Sample:
        self.reads += 1
        rng = np.random.default_rng(int(name))
        mask = np.zeros((64, 64), np.int64)
        row, col = rng.integers(0, 32, 2)
        mask[row : row + 32, col : col + 32] = 1
        image = (rng.normal(800, 30, (10, 64, 64)) + 2500 * mask).astype(np.float32)
        mask[0] = IGNORE
        return Sample(image, mask, np.ones(mask.shape, bool))


def bright(count: int = 4) -> Examples:
    names = tuple(str(number) for number in range(count))
    split = Split(root=Path(), layout=Bright(), names=names, bands=MODEL_BANDS, classes=2)
    return Examples(split=split, unit=Unit.DN, contract=fit_contract("s2", bands=MODEL_BANDS))


def test_examples__are_read_once_while_memory_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    part = bright(2)
    layout = part.split.layout
    assert isinstance(layout, Bright)
    assert len(list(part)) == len(list(part)) == layout.reads == 2
    monkeypatch.setattr("deo.training.tasks.patches._MEMORY", 0)
    again = bright(2)
    layout = again.split.layout
    assert isinstance(layout, Bright)
    assert len(list(again)) == len(list(again)) == 2
    assert layout.reads == 4


def test_patch_count__as_many_as_fit_without_overlap() -> None:
    assert [patch_count(bright(), crop) for crop in (None, 64, 33, 32, 16)] == [4, 4, 4, 16, 64]


def test_batches__leave_out_what_the_network_cannot_learn_from() -> None:
    seen = list(batches(bright(3), size=2, crop=None, flips=False, seed=0, epoch=0, least=2))
    assert [len(batch.names) for batch in seen] == [2]


def test_batches__depend_on_seed_and_epoch_alone() -> None:
    part = bright()
    options = {"size": 4, "crop": 16, "flips": True}

    def epoch(seed: int, number: int) -> torch.Tensor:
        return torch.cat([b.images for b in batches(part, **options, seed=seed, epoch=number)])

    first = epoch(0, 0)
    assert first.shape == (4 * 16, 10, 16, 16)  # as many as fit without overlap
    assert torch.equal(first, epoch(0, 0))
    assert not torch.equal(first, epoch(0, 1))
    assert not torch.equal(first, epoch(1, 0))


def test_batches__mask_moves_with_the_image() -> None:
    part = bright()
    for batch in batches(part, size=4, crop=16, flips=True, seed=0, epoch=0):
        light = batch.images[:, 6] > 0.2
        known = batch.targets != IGNORE
        assert torch.equal(light[known], batch.targets[known] == 1)


def test_batches__crop_must_fit() -> None:
    part = bright()
    with pytest.raises(ConfigError, match="choose --crop below 96"):
        next(iter(batches(part, size=2, crop=96, flips=False, seed=0, epoch=0)))


@pytest.mark.parametrize(
    ("shapes", "crop", "wanted"),
    [
        ([(64, 64)] * 2, None, (64, True)),
        ([(64, 64)] * 2, 32, (64, True)),
        ([(64, 48)] * 2, None, (48, False)),
        ([(64, 64), (80, 96)], None, (64, False)),
        ([(900, 900)], None, (512, False)),
    ],
)
def test_training_size__of_patches_or_of_the_shortest_side(
    shapes: list[tuple[int, int]], crop: int | None, wanted: tuple[int, bool]
) -> None:
    part = bright(len(shapes))
    for index, shape in enumerate(shapes):
        image = np.zeros((1, *shape), np.float32)
        part._kept[index] = Example(image, np.zeros(shape, np.int64))
    assert training_size(part, crop) == wanted
    part._kept[0] = Example(part[0].image, np.asarray(0))  # a tile classifier's
    assert training_size(part, crop) == (wanted if crop is None else (crop, False))
