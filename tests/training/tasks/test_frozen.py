"""Protocols on frozen features, from a source whose features are the labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deo.bands import BandSet, Pixels
from deo.errors import ConfigError, DataError
from deo.training.tasks.dataset import Sample
from deo.training.tasks.frozen import evaluate_knn, evaluate_pixels, evaluate_probe, pooled
from deo.training.tasks.task import Benchmark, Task

BANDS = BandSet(("B8A",))


class Numbered:
    """Samples of one pixel, whose value is their number and whose class is its parity."""

    bands = BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"all": tuple(str(number) for number in range(12))}

    def read(self, root: Path, name: str) -> Sample:
        image = np.full((1, 1, 1), int(name), np.float32)
        return Sample(image, np.asarray(int(name) % 2), np.ones((1, 1), bool))


class Parity:
    """Features: the sample's class, apart from the samples that are broken."""

    bands = BANDS
    record: Mapping[str, Any] = {"model": "parity"}

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken

    def pooled(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        numbers = [float(chip.values[0, 0, 0]) for chip in chips]
        return np.array([[np.nan if n == self.broken else n % 2] for n in numbers], np.float32)

    def per_pixel(self, pixels: Pixels) -> NDArray[np.float32]:
        raise NotImplementedError


BENCH = Benchmark(
    name="numbers", task=Task.CLASSIFY, classes=2, layout=Numbered(), metric="accuracy"
)
SPLITS = BENCH.open(Path())


def test_pooled__chunks_join_in_order() -> None:
    part = pooled(Parity(), SPLITS["all"], BENCH.unit, chunk=5)
    assert part.features[:, 0].tolist() == part.labels.tolist() == [0, 1] * 6


def test_pooled__names_the_sample_of_a_broken_feature() -> None:
    with pytest.raises(DataError, match="not finite, of 7 below"):
        pooled(Parity(broken=7), SPLITS["all"], BENCH.unit, chunk=5)


def test_knn_and_probe__score_every_sample_once_and_say_with_what() -> None:
    for outcome in (
        evaluate_knn(Parity(), BENCH, SPLITS, k=3),
        evaluate_probe(Parity(), BENCH, SPLITS, folds=3, grid=(1.0,)),
    ):
        assert outcome.units.matrices.sum(0).tolist() == [[6, 0], [0, 6]]
        assert (outcome.unit, outcome.model) == ("tile", {"model": "parity"})


def test_pixels__is_for_masks() -> None:
    with pytest.raises(ConfigError, match="protocol pixels segments; numbers is classify"):
        evaluate_pixels(Parity(), BENCH, SPLITS)
