"""What a network has to beat: rules and classical classifiers on the bands of the same samples.

They are fitted in seconds: on at most 20 000 pixels of at most 200 training samples.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import DataError, require
from deo.training.tasks.dataset import Sample, Split
from deo.training.tasks.features import BandFeatures
from deo.training.tasks.frozen import pooled
from deo.training.tasks.objectives import balanced
from deo.training.tasks.outcome import Units, block_confusions, tile_units
from deo.training.tasks.probes import logistic_probe
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.survey import class_counts, listed
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.thresholds import best_threshold, magnitude, standardised_differences

FREQUENT = "most frequent class"
EVERYWHERE = "change everywhere"
NDWI = "NDWI > 0"
THRESHOLD = "threshold on standardised differences"
LOGISTIC = "logistic regression on bands"
FOREST = "random forest on bands"

_MOST_PIXELS = 20_000
_MOST_SAMPLES = 200
_TREES = 100
_LEAF = 5  # training pixels in a leaf: the neighbours of a pixel have nearly its spectrum

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]
Predict = Callable[[Rows], Labels]
"""(N, D) features -> (N,) classes, or (N, K) multi-hot."""


def fit_baselines(
    benchmark: Benchmark,
    train: Split,
    tested: Split,
    *,
    seed: int = 0,
    names: tuple[str, ...] | None = None,
) -> dict[str, Units]:
    """Fit the baselines of a task, and score them.

    Tiles are described by mean and standard deviation of each band, pixels by their bands, and
    pixels of pairs by the absolute standardised difference of each band.

    Args:
        seed: of the drawn pixels and of the forest.
        names: those that are wanted; None: all that fit the task and its bands.

    Raises:
        DataError: pixels are not finite, or no training pixel has a label.
        MissingExtraError: scikit-learn is not installed.
    """
    if benchmark.task in (Task.CLASSIFY, Task.MULTILABEL):
        return _of_tiles(benchmark, train, tested, seed)
    drawn = _drawn(benchmark, train, seed)
    rules = {
        name: make()
        for name, make in _rules(benchmark, train, drawn, seed).items()
        if names is None or name in names
    }
    matrices: dict[str, list[NDArray[np.int64]]] = {name: [] for name in rules}
    samples: list[str] = []
    for name, pixels in zip(tested.names, _described(benchmark, tested), strict=True):
        for rule, predict in rules.items():
            predicted = np.zeros(pixels.target.shape, np.int64)
            predicted[pixels.known] = predict(pixels.rows)
            matrices[rule] += block_confusions(
                pixels.target, predicted, classes=benchmark.class_count
            )
        units = max(map(len, matrices.values()), default=0)
        samples += [name] * (units - len(samples))
    return {name: Units(np.stack(parts), tuple(samples)) for name, parts in matrices.items()}


def _of_tiles(benchmark: Benchmark, train: Split, tested: Split, seed: int) -> dict[str, Units]:
    source = BandFeatures(bands=train.bands)
    learned, judged = (pooled(source, split, benchmark.unit) for split in (train, tested))
    counts = class_counts(learned.labels, benchmark)
    predictors = {
        LOGISTIC: _logistic(learned.features, learned.labels, counts),
        FOREST: _forest(learned.features, learned.labels, counts, seed, leaf=1),
    }
    if benchmark.task is Task.CLASSIFY:
        most = int(counts.argmax())
        predictors = {FREQUENT: lambda rows: np.full(len(rows), most), **predictors}
    return {
        name: tile_units(tested, judged.labels, predict(judged.features), benchmark)
        for name, predict in predictors.items()
    }


class _Described(NamedTuple):
    """The pixels of a sample whose label is known.

    `rows`: (N, D) features.
    `target`: (H, W) labels.
    `known`: (H, W), True where `rows` are of.
    """

    rows: Rows
    target: Labels
    known: NDArray[np.bool_]


def _described(benchmark: Benchmark, split: Split) -> Iterator[_Described]:
    for name, sample in zip(split.names, split, strict=True):
        if not np.isfinite(sample.image).all():
            raise DataError(
                f"samples with pixels that are not finite: {listed([name])} below {split.root}; "
                "declare them as nodata, or leave these samples out"
            )
        known = sample.target != IGNORE
        features = _features(benchmark, sample)
        yield _Described(features[:, known].T, sample.target, known)


def _features(benchmark: Benchmark, sample: Sample) -> NDArray[np.float32]:
    """(D, H, W)."""
    if benchmark.task is Task.CHANGE:
        return np.abs(standardised_differences(sample))
    return sample.image


class _Drawn(NamedTuple):
    """Training pixels: (N, D) features and (N,) labels."""

    rows: Rows
    labels: Labels


def _drawn(benchmark: Benchmark, train: Split, seed: int) -> _Drawn:
    """Pixels at random, as many of each sample; of large data sets, of evenly spread samples."""
    step = -(-len(train) // _MOST_SAMPLES)
    chosen = train.subset(range(0, len(train), step))
    quota, rng = -(-_MOST_PIXELS // len(chosen)), np.random.default_rng(seed)
    rows, labels = [], []
    for pixels in _described(benchmark, chosen):
        count = len(pixels.rows)
        picked = rng.choice(count, min(quota, count), replace=False)
        rows.append(pixels.rows[picked])
        labels.append(pixels.target[pixels.known][picked])
    drawn = _Drawn(np.concatenate(rows), np.concatenate(labels))
    if not len(drawn.labels):
        raise DataError(f"no pixel of the training samples below {train.root} has a label")
    return drawn


def _rules(
    benchmark: Benchmark, train: Split, drawn: _Drawn, seed: int
) -> dict[str, Callable[[], Predict]]:
    """Those that fit the task; each is made when it is called for."""
    counts = class_counts(drawn.labels, benchmark)
    classifiers: dict[str, Callable[[], Predict]] = {
        LOGISTIC: lambda: _logistic(drawn.rows, drawn.labels, counts),
        FOREST: lambda: _forest(drawn.rows, drawn.labels, counts, seed, leaf=_LEAF),
    }
    if benchmark.task is Task.CHANGE:
        return {
            EVERYWHERE: lambda: lambda rows: np.ones(len(rows), np.int64),
            THRESHOLD: lambda: _threshold(drawn),
            **classifiers,
        }
    rules: dict[str, Callable[[], Predict]] = {
        FREQUENT: lambda: lambda rows: np.full(len(rows), int(counts.argmax()))
    }
    if benchmark.class_count == 2 and {"B03", "B08"} <= set(train.bands):
        green, infrared = BandSet(("B03", "B08")).positions_in(train.bands.names)
        rules[NDWI] = lambda: _ndwi(drawn, green, infrared)
    return {**rules, **classifiers}


def _threshold(drawn: _Drawn) -> Predict:
    step = best_threshold(_length(drawn.rows), drawn.labels)
    return lambda rows: (_length(rows) >= step).astype(np.int64)


def _length(rows: Rows) -> NDArray[np.float32]:
    return magnitude(rows.T)


def _ndwi(drawn: _Drawn, green: int, infrared: int) -> Predict:
    """Green above near infrared is water; the class that this agrees with better is called so."""

    def water(rows: Rows) -> Labels:
        return (rows[:, green] > rows[:, infrared]).astype(np.int64)

    agreed = float((water(drawn.rows) == drawn.labels).mean())
    return water if agreed >= 0.5 else lambda rows: 1 - water(rows)


def _logistic(rows: Rows, labels: Labels, counts: Labels) -> Predict:
    if len(np.unique(labels, axis=0)) == 1:
        return _constant(labels[0])
    probe = logistic_probe(rows, labels, class_weight=_class_weight(labels, counts))
    return lambda given: np.asarray(probe.predict(given), np.int64)


def _forest(rows: Rows, labels: Labels, counts: Labels, seed: int, *, leaf: int) -> Predict:
    if len(np.unique(labels, axis=0)) == 1:
        return _constant(labels[0])
    forest = require("sklearn.ensemble", extra="eval").RandomForestClassifier(
        _TREES,
        min_samples_leaf=leaf,
        class_weight=_class_weight(labels, counts),
        random_state=seed,
    )
    forest.fit(rows, labels)
    return lambda given: np.asarray(forest.predict(given), np.int64)


def _constant(label: Labels) -> Predict:
    """For training samples that are all of one label."""
    return lambda rows: np.broadcast_to(label, (len(rows), *label.shape)).copy()


def _class_weight(labels: Labels, counts: Labels) -> str | None:
    """Rare classes weigh more exactly where they do when a network is tuned."""
    return "balanced" if labels.ndim == 1 and balanced("auto", counts) else None
