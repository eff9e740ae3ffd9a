"""Protocols on frozen features: nearest neighbours, logistic probe, per-pixel probe.

Each takes a source of features and the splits of a benchmark and returns one confusion matrix
per unit, from which `deo.training.tasks.results` makes scores with intervals.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, DataError
from deo.training.tasks.dataset import Split, Unit
from deo.training.tasks.features import FeatureSource
from deo.training.tasks.inputs import pixels_of
from deo.training.tasks.knn import METRICS, knn
from deo.training.tasks.outcome import BLOCK_UNIT, Outcome, Units, block_confusions, tile_units
from deo.training.tasks.probes import (
    C_GRID,
    cross_validated_probe,
    left_half,
    logistic_probe,
    pixel_probe,
)
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.splits import require_test, tested_part
from deo.training.tasks.survey import class_counts, listed, warn_of_unseen
from deo.training.tasks.task import Benchmark, Task

_ORDER = ("train", "valid", "test")


class PooledSplit(NamedTuple):
    """(N, D) features and (N,) or (N, K) labels."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def pooled(source: FeatureSource, split: Split, unit: Unit, *, chunk: int = 256) -> PooledSplit:
    """Features and labels of a whole split; `chunk` chips are in memory at once."""
    features, labels = [], []
    for start in range(0, len(split), chunk):
        samples = [split[index] for index in range(start, min(start + chunk, len(split)))]
        rows = source.pooled([pixels_of(sample, unit) for sample in samples])
        _refuse_broken(rows, split, start)
        features.append(rows)
        labels += [sample.target for sample in samples]
    if not labels:
        raise DataError("the split is empty; check the data folder and --fraction")
    return PooledSplit(np.concatenate(features), np.stack(labels))


def _refuse_broken(rows: NDArray[np.float32], split: Split, start: int) -> None:
    """Refuse (N, ...) features of the samples from `start` on that are not finite."""
    broken = ~np.isfinite(rows).reshape(len(rows), -1).all(1)
    if broken.any():
        names = [split.names[start + index] for index in np.flatnonzero(broken)]
        raise DataError(
            f"features that are not finite, of {listed(names)} below {split.root}: pixels there "
            "are not, or the model's weights; declare such pixels as nodata, or leave them out"
        )


def evaluate_knn(
    source: FeatureSource,
    benchmark: Benchmark,
    splits: Mapping[str, Split],
    *,
    k: int = 5,
    metric: str = "l2",
    temperature: float | None = None,
) -> Outcome:
    """Nearest neighbours: train + valid vote for test; without splits, leave one out.

    Raises:
        ConfigError: another task, or an unknown metric.
        DataError: no test part, features that are not finite, or fewer samples than neighbours.
    """
    _classification_only(benchmark, "knn")
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    how: dict[str, Any] = {"k": k, "metric": metric, "temperature": temperature}
    if "all" in splits:
        bank = queries = pooled(source, splits["all"], benchmark.unit)
    else:
        require_test(splits)
        voting = [name for name in ("train", "valid") if name in splits]
        bank = _joined(pooled(source, splits[name], benchmark.unit) for name in voting)
        warn_of_unseen(class_counts(bank.labels, benchmark), benchmark)
        queries = pooled(source, splits["test"], benchmark.unit)
    predicted = knn(
        bank.features,
        bank.labels,
        queries.features,
        k=k,
        metric=METRICS[metric],
        temperature=temperature,
        same="all" in splits,
    )
    how["split"] = "leave one out" if "all" in splits else f"{' + '.join(voting)} -> test"
    units = tile_units(tested_part(splits), queries.labels, predicted, benchmark)
    return Outcome(units, "tile", how, source.record)


def evaluate_probe(
    source: FeatureSource,
    benchmark: Benchmark,
    splits: Mapping[str, Split],
    *,
    seed: int = 0,
    folds: int = 5,
    grid: Sequence[float] = C_GRID,
) -> Outcome:
    """Logistic regression, C chosen on `valid` or 1 without it; without splits, `folds` folds.

    Raises:
        ConfigError: another task.
        DataError: no test part, features that are not finite, or too few samples or classes.
    """
    _classification_only(benchmark, "probe")
    if "all" in splits:
        part = pooled(source, splits["all"], benchmark.unit)
        predicted = cross_validated_probe(
            part.features, part.labels, count=folds, seed=seed, grid=grid
        )
        how: dict[str, Any] = {"split": f"{folds}-fold", "folds": folds}
        units = tile_units(splits["all"], part.labels, predicted, benchmark)
        return Outcome(units, "tile", how, source.record)
    require_test(splits)
    parts = {
        name: pooled(source, splits[name], benchmark.unit) for name in _ORDER if name in splits
    }
    train, valid, test = parts["train"], parts.get("valid"), parts["test"]
    warn_of_unseen(class_counts(train.labels, benchmark), benchmark)
    probe = logistic_probe(train.features, train.labels, validation=valid, grid=grid)
    how = {"split": f"{', '.join(list(parts)[:-1])} -> test", "c": probe.c}
    units = tile_units(splits["test"], test.labels, probe.predict(test.features), benchmark)
    return Outcome(units, "tile", how, source.record)


def evaluate_pixels(
    source: FeatureSource, benchmark: Benchmark, splits: Mapping[str, Split], *, seed: int = 0
) -> Outcome:
    """Logistic probe of every pixel on its own features.

    Each scene is its own test: its left half trains, its right half is scored.

    Raises:
        ConfigError: the task is another, or the data have splits.
    """
    if benchmark.task is not Task.SEGMENT:
        raise ConfigError(f"protocol pixels segments; {benchmark.name} is {benchmark.task.value}")
    if "all" not in splits:
        raise ConfigError("protocol pixels takes single scenes without splits; use segment")
    matrices: list[NDArray[np.int64]] = []
    samples: list[str] = []
    for index, (name, sample) in enumerate(zip(splits["all"].names, splits["all"], strict=True)):
        train = left_half(*sample.target.shape)
        features = source.per_pixel(pixels_of(sample, benchmark.unit))
        _refuse_broken(features[None], splits["all"], index)
        predicted = pixel_probe(features, sample.target, train=train, seed=seed)
        truth = np.where(train, IGNORE, sample.target)
        matrices += block_confusions(truth, predicted, classes=benchmark.class_count)
        samples += [name] * (len(matrices) - len(samples))
    how = {"split": "left half trains, right half tests"}
    return Outcome(Units(np.stack(matrices), tuple(samples)), BLOCK_UNIT, how, source.record)


def _classification_only(benchmark: Benchmark, protocol: str) -> None:
    if benchmark.task not in (Task.CLASSIFY, Task.MULTILABEL):
        raise ConfigError(
            f"protocol {protocol} classifies tiles; {benchmark.name} is {benchmark.task.value}: "
            "use the protocol segment, pixels or change"
        )


def _joined(parts: Any) -> PooledSplit:
    features, labels = zip(*parts, strict=True)
    return PooledSplit(np.concatenate(features), np.concatenate(labels))
