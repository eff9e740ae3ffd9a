"""Scores from confusion matrices, with bootstrapped intervals. Numpy only, no files.

Everything is counted as one confusion matrix per unit (a chip, a scene): rows are the truth,
columns the prediction. Units add up, so a bootstrap over units is a weighted sum.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError

IGNORE = -1
"""Label of pixels that count nowhere."""

Statistic = Callable[[NDArray[np.float64]], float]


class Score(NamedTuple):
    """A statistic with its 95 % bootstrap interval, all between 0 and 1."""

    value: float
    low: float
    high: float


def confusion(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], *, classes: int
) -> NDArray[np.int64]:
    """Count (truth, prediction) pairs; any shape, `IGNORE` in the truth is skipped.

    Returns:
        (classes, classes) counts, rows the truth.

    Raises:
        DataError: shapes differ, or a label is neither `IGNORE` nor in 0 .. classes - 1.
    """
    if truth.shape != predicted.shape:
        raise DataError(f"truth has shape {truth.shape}, prediction {predicted.shape}")
    counted = truth != IGNORE
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    check_labels(rows, classes=classes, where="truth")
    check_labels(columns, classes=classes, where="prediction")
    flat = np.bincount(rows * classes + columns, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def multilabel_confusion(
    truth: NDArray[np.integer], predicted: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Present/absent counts over all classes of one multi-hot label: (2, 2)."""
    return confusion(truth.astype(np.int64), predicted.astype(np.int64), classes=2)


def check_labels(labels: NDArray[np.integer], *, classes: int, where: str) -> None:
    """Refuse labels outside 0 .. classes - 1 (`IGNORE` is allowed).

    Raises:
        DataError: names the place, the label found and the range.
    """
    wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        listed = ", ".join(str(value) for value in np.unique(wrong)[:5])
        raise DataError(
            f"{where}: label {listed} out of range; wanted 0..{classes - 1} or {IGNORE} (ignored)"
        )


def accuracy(matrix: NDArray[np.float64]) -> float:
    return _ratio(np.trace(matrix), matrix.sum())


def iou_per_class(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of each class; NaN where a class is neither true nor predicted."""
    true = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - true
    ratios = np.full(len(true), np.nan)
    np.divide(true, union, out=ratios, where=union > 0)
    return ratios


def macro_iou(matrix: NDArray[np.float64]) -> float:
    """Mean IoU over the classes that occur; GEO-Bench and PASTIS report it."""
    values = iou_per_class(matrix)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def micro_iou(matrix: NDArray[np.float64]) -> float:
    """Intersections over unions, both summed over classes; reported for Sen1Floods11."""
    true = np.trace(matrix)
    return _ratio(true, 2 * matrix.sum() - true)


def positive_iou(matrix: NDArray[np.float64]) -> float:
    """IoU of class 1 of two: water, change."""
    return _ratio(matrix[1, 1], matrix[1, 1] + matrix[0, 1] + matrix[1, 0])


def positive_f1(matrix: NDArray[np.float64]) -> float:
    """F1 of class 1 of two; of summed multi-label counts this is the micro-F1."""
    return _ratio(2 * matrix[1, 1], 2 * matrix[1, 1] + matrix[0, 1] + matrix[1, 0])


STATISTICS: dict[str, Statistic] = {
    "accuracy": accuracy,
    "micro_f1": positive_f1,
    "macro_iou": macro_iou,
    "micro_iou": micro_iou,
    "f1": positive_f1,
    "iou": positive_iou,
}


def bootstrap(
    matrices: NDArray[np.int64], statistic: Statistic, *, draws: int = 1000, seed: int = 0
) -> Score:
    """A statistic of all units and the 2.5 and 97.5 percentiles over resampled units.

    Args:
        matrices: (units, ...), one confusion matrix (K, K) per independent unit.
        statistic: what to compute from their sum.
        draws: resamples; 0 gives an interval of no width.
        seed: of the resampling.

    Raises:
        DataError: there is no unit.
    """
    if len(matrices) == 0:
        raise DataError("no unit to score; the split is empty")
    value = statistic(matrices.sum(0).astype(np.float64))
    if draws == 0:
        return Score(value, value, value)
    units, shape = len(matrices), matrices.shape[1:]
    rng = np.random.default_rng(seed)
    flat = matrices.reshape(units, -1).astype(np.float64)
    even = np.full(units, 1 / units)
    values = [statistic((rng.multinomial(units, even) @ flat).reshape(shape)) for _ in range(draws)]
    low, high = np.nanpercentile(values, (2.5, 97.5)) if np.isfinite(values).any() else (value,) * 2
    return Score(value, float(low), float(high))


def bootstrap_runs(
    runs: Sequence[NDArray[np.int64]], statistic: Statistic, *, draws: int = 1000, seed: int = 0
) -> Score:
    """The mean statistic of several runs on the same units, which are resampled together.

    Raises:
        DataError: there is no run, or the runs have different units.
    """

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return _bootstrap_joined(runs, statistic, mean, draws=draws, seed=seed)


def bootstrap_difference(
    first: Sequence[NDArray[np.int64]],
    second: Sequence[NDArray[np.int64]],
    statistic: Statistic,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Score:
    """How far the mean statistic of the first runs is above that of the second, between -1 and 1.

    Both are of the same units, which are resampled together: what makes a unit hard is the same for
    both, so that the interval of the difference is narrower than those of the scores suggest.

    Raises:
        DataError: there is no run, or the runs have different units.
    """
    count = len(first)

    def difference(values: Sequence[float]) -> float:
        return float(np.mean(values[:count]) - np.mean(values[count:]))

    return _bootstrap_joined([*first, *second], statistic, difference, draws=draws, seed=seed)


def _bootstrap_joined(
    runs: Sequence[NDArray[np.int64]],
    statistic: Statistic,
    summary: Callable[[Sequence[float]], float],
    *,
    draws: int,
    seed: int,
) -> Score:
    """A summary of the statistics of several runs on the same units, resampled together."""
    shapes = {run.shape for run in runs}
    if len(shapes) != 1:
        raise DataError(f"runs to compare need the same units, got shapes {sorted(shapes)}")
    units, size, _ = shapes.pop()
    joined = np.stack(runs, 1).reshape(units, -1, size)  # (units, runs x K, K)

    def summarised(summed: NDArray[np.float64]) -> float:
        return summary([statistic(part) for part in summed.reshape(-1, size, size)])

    return bootstrap(joined, summarised, draws=draws, seed=seed)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
