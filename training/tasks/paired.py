"""Two results of `deo evaluate` on the same units, compared unit by unit: `deo compare`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError, require
from deo.training.tasks.outcome import Units
from deo.training.tasks.scores import STATISTICS, Score, bootstrap_difference


def predictions(runs: Sequence[Units]) -> tuple[Mapping[str, Any], ...]:
    """What each seed made of each unit, JSON-able.

    An entry names the unit's sample and holds, for each seed, `[truth, predicted, count]` of the
    pairs of classes that occur: of a tile with one class, `[[truth, predicted, 1]]`.
    """
    return tuple(
        {
            "sample": name,
            "counts": [
                [
                    [int(row), int(column), int(run.matrices[unit, row, column])]
                    for row, column in np.argwhere(run.matrices[unit])
                ]
                for run in runs
            ],
        }
        for unit, name in enumerate(runs[0].samples)
    )


def are_predictions(value: Any) -> bool:
    """Whether this is what `predictions` makes."""
    return isinstance(value, list) and all(
        isinstance(entry, dict) and {"sample", "counts"} <= entry.keys() for entry in value
    )


class McNemar(NamedTuple):
    """The exact test on tiles that one of two networks classified rightly, and the other did not.

    `first`, `second`: tiles that only this one was right about.
    `p`: how likely a split at least as uneven is if neither is better; two-sided.
    """

    first: int
    second: int
    p: float


class Paired(NamedTuple):
    """How far the first of two results is ahead of the second.

    `metric`, `unit`, `units`: what is scored, and on how many units of which kind.
    `first`, `second`: mean scores over seeds, between 0 and 1.
    `ahead`: their difference with its 95 % interval; the units are resampled for both together.
    `mcnemar`: of tiles with one class, where both results are of one seed.
    """

    metric: str
    unit: str
    units: int
    first: float
    second: float
    ahead: Score
    mcnemar: McNemar | None

    def __str__(self) -> str:
        value, low, high = (100 * number for number in self.ahead)
        text = (
            f"{self.metric} on the same {self.units} units ({self.unit}): "
            f"{100 * self.first:.1f} and {100 * self.second:.1f}; "
            f"the first is ahead by {value:.1f} (95 %: {low:.1f} to {high:.1f})"
        )
        if self.mcnemar is None:
            return text
        first, second, p = self.mcnemar
        return (
            f"{text}\nonly the first is right about {first} tiles, only the second about {second}: "
            f"p = {p:.3f} (McNemar's exact test)"
        )


def compare_results(first: Mapping[str, Any], second: Mapping[str, Any]) -> Paired:
    """Compare two results, as `results.read_json` gives them, on the units that both scored.

    Raises:
        DataError: they are of other data, metrics, samples or labels, or hold no predictions.
    """
    for name in ("dataset", "metric", "unit"):
        if first[name] != second[name]:
            raise DataError(
                f"the results are of another {name}: {first[name]!r} and {second[name]!r}"
            )
    samples = [[entry["sample"] for entry in record["predictions"]] for record in (first, second)]
    if not samples[0] or samples[0] != samples[1]:
        raise DataError(
            "the results are not of the same samples: evaluate both with the same test part, under "
            "this version of deo"
        )
    both = (*first["predictions"], *second["predictions"])
    pairs = (pair for entry in both for seed in entry["counts"] for pair in seed)
    classes = 1 + max((max(row, column) for row, column, _ in pairs), default=1)
    one, other = (_runs(record["predictions"], classes) for record in (first, second))
    if not np.array_equal(one[0].sum(2), other[0].sum(2)):
        raise DataError("the labels of the samples differ between the results")
    statistic = STATISTICS[first["metric"]]
    means = [float(np.mean([statistic(run.sum(0)) for run in runs])) for runs in (one, other)]
    tiles = first["unit"] == "tile" and first["metric"] == "accuracy"
    return Paired(
        metric=first["metric"],
        unit=first["unit"],
        units=len(samples[0]),
        first=means[0],
        second=means[1],
        ahead=bootstrap_difference(one, other, statistic),
        mcnemar=_mcnemar(one[0], other[0]) if tiles and len(one) == len(other) == 1 else None,
    )


def _runs(entries: Sequence[Mapping[str, Any]], classes: int) -> list[NDArray[np.int64]]:
    """(units, classes, classes) confusion matrices of each seed, from `predictions`."""
    seeds = len(entries[0]["counts"])
    runs = np.zeros((seeds, len(entries), classes, classes), np.int64)
    for unit, entry in enumerate(entries):
        for seed, counts in enumerate(entry["counts"]):
            for row, column, count in counts:
                runs[seed, unit, row, column] = count
    return list(runs)


def _mcnemar(first: NDArray[np.int64], second: NDArray[np.int64]) -> McNemar:
    right = [np.trace(run, axis1=1, axis2=2) > 0 for run in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    if only_first + only_second == 0:
        return McNemar(0, 0, 1.0)
    test = require("scipy.stats", extra="eval").binomtest(only_first, only_first + only_second)
    return McNemar(only_first, only_second, float(test.pvalue))
