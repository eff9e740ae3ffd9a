"""Logistic probes on frozen features given as arrays: of tiles, in folds, of pixels.

Nothing here knows a model or a file. Predictions come back, and `scores` scores them.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError, require
from deo.training.tasks.knn import FeatureRows, LabelRows
from deo.training.tasks.scores import IGNORE

C_GRID: tuple[float, ...] = tuple(float(c) for c in np.logspace(-6, 5, 40))
"""Inverse regularisation strengths tried on the validation part."""

_ITERATIONS = 1000
_LEAST_FOLDS = 3


class Probe(NamedTuple):
    """A fitted logistic regression on standardised features."""

    c: float
    predict: Callable[[FeatureRows], LabelRows]


def logistic_probe(
    train: FeatureRows,
    labels: LabelRows,
    *,
    validation: tuple[FeatureRows, LabelRows] | None = None,
    grid: Sequence[float] = C_GRID,
    default: float = 1.0,
    class_weight: str | None = None,
) -> Probe:
    """Fit a logistic regression, its C chosen on the validation part.

    Args:
        train: (N, D) features; mean and spread for standardising are theirs alone.
        labels: (N,) classes, or (N, K) multi-hot (one regression per class).
        validation: features and labels that choose C; the chosen model is then fitted on
            both parts. None: `default` is used.
        grid: values of C tried, in rising order.
        class_weight: as scikit-learn has it: `balanced`, or None.

    Raises:
        DataError: the training labels hold a single class.
        MissingExtraError: scikit-learn is not installed.
    """
    if labels.ndim == 1 and len(np.unique(labels)) < 2:
        raise DataError(f"a probe needs two classes, the training part holds {np.unique(labels)}")
    if validation is None:
        return Probe(default, _fits(train, labels, (default,), class_weight)[0])
    held, truth = validation
    hits = [float((fit(held) == truth).mean()) for fit in _fits(train, labels, grid, class_weight)]
    best = float(grid[int(np.argmax(hits))])
    both = np.concatenate((train, held)), np.concatenate((labels, truth))
    return Probe(best, _fits(*both, (best,), class_weight)[0])


def _fits(
    train: FeatureRows,
    labels: LabelRows,
    grid: Sequence[float],
    class_weight: str | None = None,
) -> list[Callable[[FeatureRows], LabelRows]]:
    """A prediction function per C; each fit starts from the one before, which is near."""
    linear = require("sklearn.linear_model", extra="eval")
    mean, spread = train.mean(0), train.std(0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    rows = (train - mean) / spread
    columns = (labels[:, None] if labels.ndim == 1 else labels).T
    models = [
        _Constant(int(column[0]))
        if len(np.unique(column)) == 1
        else linear.LogisticRegression(
            max_iter=_ITERATIONS, warm_start=True, class_weight=class_weight
        )
        for column in columns
    ]

    def fit(c: float) -> Callable[[FeatureRows], LabelRows]:
        fitted = []
        for model, column in zip(models, columns, strict=True):
            if not isinstance(model, _Constant):
                model.set_params(C=c).fit(rows, column)
            fitted.append(copy.deepcopy(model))

        def predict(features: FeatureRows) -> LabelRows:
            scaled = (features - mean) / spread
            predicted = np.stack([model.predict(scaled) for model in fitted], axis=1)
            return predicted[:, 0] if labels.ndim == 1 else predicted

        return predict

    with warnings.catch_warnings():
        # weak regularisation over 40 values of C: an unconverged candidate is a candidate
        warnings.filterwarnings("ignore", message=".*failed to converge", category=UserWarning)
        return [fit(c) for c in grid]


class _Constant(NamedTuple):
    """Stands for a class of a multi-label task that never or always occurs in training."""

    value: int

    def predict(self, rows: FeatureRows) -> LabelRows:
        return np.full(len(rows), self.value)


def folds(labels: LabelRows, *, count: int, seed: int) -> NDArray[np.int64]:
    """Number each sample 0 .. count - 1, every class spread evenly (multi-hot: at random).

    Raises:
        DataError: fewer samples than folds.
    """
    if len(labels) < count:
        raise DataError(f"{count} folds of {len(labels)} samples; ask for fewer folds")
    rng = np.random.default_rng(seed)
    numbers = np.empty(len(labels), np.int64)
    if labels.ndim == 2:
        return np.asarray(rng.permutation(np.arange(len(labels)) % count))
    start = 0
    for value in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == value))
        numbers[members] = (np.arange(len(members)) + start) % count
        start += len(members)
    return numbers


def _held_out_hits(
    features: FeatureRows, labels: LabelRows, numbers: NDArray[np.int64], grid: Sequence[float]
) -> NDArray[np.float64]:
    """Correct predictions per C over all folds numbered 0 and up, each held out once."""
    hits = np.zeros(len(grid))
    for held in np.unique(numbers[numbers >= 0]):
        train, here = (numbers >= 0) & (numbers != held), numbers == held
        fits = _fits(features[train], labels[train], grid)
        hits += [float((fit(features[here]) == labels[here]).sum()) for fit in fits]
    return hits


def cross_validated_probe(
    features: FeatureRows,
    labels: LabelRows,
    *,
    count: int = 5,
    seed: int = 0,
    grid: Sequence[float] = C_GRID,
) -> LabelRows:
    """Out-of-fold predictions; C is chosen inside each training part.

    Every other fold is held out of the training part once, and the C that does best on all of them
    together is taken: a single fold of a small data set would choose by chance.

    Raises:
        DataError: fewer than three folds (C is chosen on those left), fewer samples than folds, or
            a training part of one class.
    """
    if count < _LEAST_FOLDS:
        raise DataError(
            f"{count} folds; wanted {_LEAST_FOLDS} or more: C is chosen on the folds that are left"
        )
    numbers = folds(labels, count=count, seed=seed)
    predicted = np.empty_like(labels)
    for fold in range(count):
        test = numbers == fold
        hits = _held_out_hits(features, labels, np.where(test, -1, numbers), grid)
        best = float(grid[int(np.argmax(hits))])
        probe = logistic_probe(features[~test], labels[~test], default=best)
        predicted[test] = probe.predict(features[test])
    return predicted


def pixel_probe(
    features: FeatureRows,
    labels: LabelRows,
    *,
    train: NDArray[np.bool_],
    most: int = 20_000,
    c: float = 1.0,
    seed: int = 0,
) -> LabelRows:
    """Classify every pixel by a logistic regression on its own features.

    Args:
        features: (D, H, W).
        labels: (H, W), `IGNORE` where unknown.
        train: (H, W), True where the labels may be seen.
        most: training pixels drawn at random.

    Returns:
        (H, W) predictions, in the training part too.
    """
    rows = features.reshape(len(features), -1).T
    seen = np.flatnonzero((train & (labels != IGNORE)).ravel())
    rng = np.random.default_rng(seed)
    if len(seen) > most:
        seen = rng.choice(seen, most, replace=False)
    probe = logistic_probe(rows[seen], labels.ravel()[seen], default=c)
    return probe.predict(rows).reshape(labels.shape)


def left_half(height: int, width: int) -> NDArray[np.bool_]:
    """(height, width) mask, True in the left half: trains; the right half tests."""
    return np.broadcast_to(np.arange(width) < width // 2, (height, width)).copy()
