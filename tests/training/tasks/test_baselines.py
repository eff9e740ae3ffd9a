"""Baselines on synthetic samples whose right answer is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import DataError
from deo.training.tasks import baselines
from deo.training.tasks.baselines import (
    EVERYWHERE,
    FOREST,
    FREQUENT,
    LOGISTIC,
    NDWI,
    THRESHOLD,
    fit_baselines,
)
from deo.training.tasks.dataset import Sample
from deo.training.tasks.scores import IGNORE, STATISTICS
from deo.training.tasks.task import Benchmark, Task


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_TREES", 3)


@dataclass(frozen=True)
class Water:
    """Synthetic: a strip of water, dark in the near infrared; where it changed, or how much."""

    task: Task
    water: int = 1
    hidden: bool = False
    bands: BandSet = MODEL_BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"train": ("0", "1", "2", "3"), "test": ("4", "5")}

    def read(self, root: Path, name: str) -> Sample:
        rng = np.random.default_rng(int(name))
        mask = np.zeros((70, 40), np.int64)
        mask[: 4 + int(name)] = 1
        land = rng.normal(1500, 30, (len(self.bands), 70, 40)).astype(np.float32)
        image = land.copy()
        if "B08" in self.bands:
            image[list(self.bands).index("B08")] += 800 - 1200 * mask
        if name == "1" and self.hidden:
            image[0, 0, 0] = np.nan
        valid = np.ones(mask.shape, bool)
        if self.task is Task.CLASSIFY:
            return Sample(image + 900 * np.float32(int(name) % 2), np.asarray(int(name) % 2), valid)
        if self.task is Task.MULTILABEL:
            hot = np.array([int(name) % 2, 1])
            return Sample(image + 900 * np.float32(int(name) % 2), hot, valid)
        target = mask if self.water else 1 - mask
        target = np.where(rng.random(mask.shape) < 0.1, IGNORE, target)
        if self.task is Task.CHANGE:
            image = np.stack((land, image + rng.normal(0, 30, land.shape).astype(np.float32)))
        return Sample(image, target, valid)


def bench(task: Task, layout: Water, metric: str) -> Benchmark:
    return Benchmark(name="water", task=task, classes=2, layout=layout, metric=metric)


def scores(benchmark: Benchmark, **settings: object) -> dict[str, float]:
    parts = benchmark.open(Path())
    units = fit_baselines(benchmark, parts["train"], parts["test"], **settings)  # type: ignore[arg-type]
    statistic = STATISTICS[benchmark.metric]
    return {name: statistic(one.matrices.sum(0)) for name, one in units.items()}


@pytest.mark.parametrize("water", [0, 1])
def test_segment__rules_and_classifiers(water: int) -> None:
    benchmark = bench(Task.SEGMENT, Water(Task.SEGMENT, water), "accuracy")
    found = scores(benchmark)
    assert list(found) == [FREQUENT, NDWI, LOGISTIC, FOREST]
    assert found[NDWI] == 1
    assert min(found[LOGISTIC], found[FOREST]) > 0.99
    assert 0.8 < found[FREQUENT] < 0.9
    assert found == scores(benchmark)  # by seed
    parts = benchmark.open(Path())
    (units,) = fit_baselines(benchmark, parts["train"], parts["test"], names=(NDWI,)).values()
    assert units.samples == ("4", "4", "5", "5")  # 70 x 40 pixels are two blocks of 64 or less
    known = sum(int((sample.target != IGNORE).sum()) for sample in parts["test"])
    assert units.matrices.sum() == known


def test_segment__without_its_bands_there_is_no_index() -> None:
    layout = Water(Task.SEGMENT, bands=BandSet(("B04", "B03", "B02")))
    assert NDWI not in scores(bench(Task.SEGMENT, layout, "accuracy"))


def test_change__threshold_and_classifiers() -> None:
    found = scores(bench(Task.CHANGE, Water(Task.CHANGE), "f1"))
    assert list(found) == [EVERYWHERE, THRESHOLD, LOGISTIC, FOREST]
    assert found[EVERYWHERE] == pytest.approx(0.21, abs=0.02)
    assert found[THRESHOLD] > found[EVERYWHERE]  # nine of ten bands are noise
    assert min(found[LOGISTIC], found[FOREST]) > 0.95


def test_tiles__of_one_class_and_of_several() -> None:
    found = scores(bench(Task.CLASSIFY, Water(Task.CLASSIFY), "accuracy"))
    assert found == {FREQUENT: 0.5, LOGISTIC: 1, FOREST: 1}
    several = scores(bench(Task.MULTILABEL, Water(Task.MULTILABEL), "micro_f1"))
    assert several == {LOGISTIC: 1, FOREST: 1}


def test_pixels_that_are_not_finite__are_refused_by_name() -> None:
    with pytest.raises(DataError, match="not finite: 1 below"):
        scores(bench(Task.SEGMENT, Water(Task.SEGMENT, hidden=True), "accuracy"))


def test_drawn__no_more_pixels_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_MOST_PIXELS", 40)
    monkeypatch.setattr(baselines, "_MOST_SAMPLES", 2)
    benchmark = bench(Task.SEGMENT, Water(Task.SEGMENT), "accuracy")
    drawn = baselines._drawn(benchmark, benchmark.open(Path())["train"], seed=0)
    assert (drawn.rows.shape, drawn.labels.shape) == ((40, 10), (40,))
