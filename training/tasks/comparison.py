"""A network beside what it has to beat, on the same units: scores, differences, a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.training.tasks.scores import STATISTICS, Score, bootstrap_difference, bootstrap_runs

Runs = Sequence[NDArray[np.int64]]
"""(units, K, K) confusion matrices of one or more seeds."""


class Row(NamedTuple):
    """One line of a comparison, between 0 and 1.

    `score`: with its 95 % interval.
    `ahead`: how far the network is above this, with its 95 % interval; None for the network itself.
    """

    name: str
    score: Score
    ahead: Score | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A network, in the first row, and what was fitted on the same samples.

    Args:
        metric: a key of `scores.STATISTICS`.
        part: which samples are scored: `test`, or `valid` where there are none to test.
        rows: the network's is the first.
    """

    metric: str
    part: str
    rows: tuple[Row, ...]

    def record(self) -> dict[str, Any]:
        """JSON-able, in percent."""
        rows = [
            {
                "name": row.name,
                "value": 100 * row.score.value,
                "interval": [100 * row.score.low, 100 * row.score.high],
                "network_ahead": None if row.ahead is None else 100 * row.ahead.value,
                "network_ahead_interval": None
                if row.ahead is None
                else [100 * row.ahead.low, 100 * row.ahead.high],
            }
            for row in self.rows
        ]
        return {"metric": self.metric, "part": self.part, "rows": rows}

    def markdown(self) -> str:
        """A table, and below it in words what the network does not beat."""
        lines = [
            f"| {self.metric}, {self.part} part | score (95 %) | network ahead by (95 %) |",
            "|---|---|---|",
        ]
        lines += [
            f"| {row.name} | {_shown(row.score)} | {_shown(row.ahead)} |" for row in self.rows
        ]
        return "\n".join((*lines, "", *self._verdict(), ""))

    def _verdict(self) -> list[str]:
        network, *others = self.rows
        ahead = {row.name: row.ahead for row in others if row.ahead is not None}
        behind = [name for name, score in ahead.items() if not score.value > 0]
        close = [name for name, score in ahead.items() if name not in behind and not score.low > 0]
        lines = []
        if behind:
            lines.append(f"{network.name} does NOT beat: {', '.join(behind)}.")
        if close:
            lines.append(
                f"{network.name} is ahead of {', '.join(close)}, but chance may do as much: the "
                "interval of the difference holds 0."
            )
        if others and not behind and not close:
            lines.append(f"{network.name} beats everything it is compared with.")
        if self.part == "valid":
            lines.append(
                "There is no test part. The validation part chose the epoch, which flatters the "
                "network."
            )
        return lines


def compared(
    metric: str, part: str, network: tuple[str, Runs], others: Mapping[str, Runs]
) -> Comparison:
    """Score a network and its rivals, and the differences between them, on the same units.

    Raises:
        DataError: the units are not the same.
    """
    statistic, (name, runs) = STATISTICS[metric], network
    rows = [Row(name, bootstrap_runs(runs, statistic), None)]
    rows += [
        Row(
            rival,
            bootstrap_runs(theirs, statistic),
            bootstrap_difference(runs, theirs, statistic),
        )
        for rival, theirs in others.items()
    ]
    return Comparison(metric=metric, part=part, rows=tuple(rows))


def _shown(score: Score | None) -> str:
    if score is None:
        return ""
    value, low, high = (100 * number for number in score)
    return f"{value:.1f} ({low:.1f} – {high:.1f})"
