"""Results as JSON and as a Markdown table beside the paper's numbers."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from deo.errors import DataError, OutputError
from deo.files.documents import load_json
from deo.files.publish import write_file
from deo.training.tasks.comparison import Comparison, compared
from deo.training.tasks.outcome import Outcome
from deo.training.tasks.paired import are_predictions, predictions
from deo.training.tasks.scores import STATISTICS, bootstrap_runs
from deo.training.tasks.task import Benchmark

PAPER = "arXiv:2602.19863"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One protocol on one data set with one model; scores in percent.

    Args:
        value: mean over seeds of the benchmark's metric on the test part.
        interval: 95 %, bootstrap over `unit`.
        per_seed: the metric of each seed.
        scores: every metric that fits the task, mean over seeds.
        comparison: a tuned network beside baselines on the same samples; None: there are none.
        predictions: one entry per unit, see `paired.predictions`.
        paper: the paper's number for this data set, whatever the model there.
    """

    protocol: str
    dataset: str
    metric: str
    value: float
    interval: tuple[float, float]
    per_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    scores: Mapping[str, float]
    unit: str
    units: int
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    samples: Mapping[str, int]
    comparison: Comparison | None = None
    predictions: tuple[Mapping[str, Any], ...] = ()
    fraction: float = 1.0
    paper: float | None = None
    seconds: float = 0.0
    deo: str = field(default_factory=lambda: version("deo"))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; NaN for one."""
        return float(np.std(self.per_seed, ddof=1)) if len(self.per_seed) > 1 else math.nan

    def record(self) -> dict[str, Any]:
        """JSON-able; a number that is not finite is null."""
        comparison = None if self.comparison is None else self.comparison.record()
        fields = {**asdict(replace(self, comparison=None)), "comparison": comparison}
        record: dict[str, Any] = _plain({**fields, "spread": self.spread})
        return record


def summarise(
    benchmark: Benchmark,
    protocol: str,
    outcomes: Mapping[int, Outcome],
    *,
    bands: Iterable[str],
    samples: Mapping[str, int],
    fraction: float = 1.0,
    seconds: float = 0.0,
) -> Result:
    """One result from the outcomes of several seeds.

    Args:
        outcomes: seed -> outcome, on the same units.
        bands: input channels of the model.
        samples: how many each part of the data holds.
        fraction: share of the training labels that was used.
        seconds: how long all of it took.
    """
    runs = [outcome.units.matrices for outcome in outcomes.values()]
    statistic = STATISTICS[benchmark.metric]
    score = bootstrap_runs(runs, statistic)
    names = _metrics(benchmark)
    first, *_, last = (*outcomes.values(), *outcomes.values())
    return Result(
        protocol=protocol,
        dataset=benchmark.name,
        metric=benchmark.metric,
        value=100 * score.value,
        interval=(100 * score.low, 100 * score.high),
        per_seed=tuple(100 * statistic(run.sum(0)) for run in runs),
        seeds=tuple(outcomes),
        scores={
            name: 100 * float(np.mean([STATISTICS[name](run.sum(0)) for run in runs]))
            for name in names
        },
        unit=first.unit,
        units=len(first.units.matrices),
        model={**last.model, "bands": list(bands)},
        settings=first.settings,
        samples=samples,
        comparison=_comparison(benchmark.metric, outcomes),
        predictions=predictions([outcome.units for outcome in outcomes.values()]),
        fraction=fraction,
        paper=_paper(benchmark, samples, fraction),
        seconds=seconds,
    )


def _comparison(metric: str, outcomes: Mapping[int, Outcome]) -> Comparison | None:
    all_seeds = tuple(outcomes.values())
    first = all_seeds[0]
    if not first.rivals:
        return None
    others = {name: [one.rivals[name].matrices for one in all_seeds] for name in first.rivals}
    network = [one.units.matrices for one in all_seeds]
    return compared(metric, "test", (str(first.model["model"]), network), others)


def _paper(benchmark: Benchmark, samples: Mapping[str, int], fraction: float) -> float | None:
    """The paper's number for the same test part and share of the labels; None where it has none."""
    if "all" in samples:
        return None
    partition = getattr(benchmark.layout, "partition", "default")
    share = {"default": 1.0, "0.10x_train": 0.1}.get(partition, 0.0) * fraction
    return {1.0: benchmark.paper, 0.1: benchmark.paper_tenth}.get(share)


def _metrics(benchmark: Benchmark) -> tuple[str, ...]:
    two = ("iou", "f1") if benchmark.class_count == 2 else ()
    tasks = {
        "classify": ("accuracy",),
        "multilabel": ("micro_f1",),
        "segment": ("macro_iou", "micro_iou", "accuracy", *two),
        "change": ("f1", "iou", "accuracy"),
    }
    return tasks[benchmark.task.value]


def check_target(path: Path) -> None:
    """Refuse before anything is measured what could not be written afterwards.

    Raises:
        OutputError: there is no such folder, or `path` is one.
    """
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")


def write_json(result: Result, path: Path) -> None:
    """Write one result; the file appears whole or not at all.

    Raises:
        OutputError: it cannot be written there.
    """
    check_target(path)
    record = result.record()
    units = record.pop("predictions")
    # a line for each unit: indented like the rest, they would be a line for each number
    lines = ",\n".join(f"    {json.dumps(unit)}" for unit in units)
    head = json.dumps(record, indent=2).removesuffix("\n}")
    write_file(path, f'{head},\n  "predictions": [\n{lines}\n  ]\n}}\n')


def read_json(path: Path) -> dict[str, Any]:
    """A result that `write_json` wrote.

    Raises:
        DataError: it is none.
    """
    try:
        record = load_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no result of deo evaluate: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{path} holds no result of deo evaluate: it is no JSON object")
    wrong = [name for name, fits in _WANTED.items() if not fits(record.get(name))]
    if wrong:
        raise DataError(
            f"{path} holds no result of deo evaluate: missing or of another type: "
            f"{', '.join(wrong)}"
        )
    return record


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_WANTED: Mapping[str, Callable[[Any], bool]] = {
    **{name: lambda value: isinstance(value, str) for name in ("dataset", "protocol", "metric")},
    **dict.fromkeys(("value", "paper", "spread"), _is_score),
    "model": lambda value: isinstance(value, dict) and "model" in value,
    "interval": lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(_is_score, value))
    ),
    "seeds": lambda value: isinstance(value, list),
    "unit": lambda value: isinstance(value, str),
    "predictions": are_predictions,
    "fraction": lambda value: value is not None and _is_score(value),
}
"""What is read of a result later on, and whether a value can be that."""


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """A table of results, one row each, the paper's number in the last column."""
    lines = [
        "| data set | protocol | model | weights | metric | measured (95 %) | seeds | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        low, high = record["interval"]
        spread = f" ± {record['spread']:.1f}" if record.get("spread") is not None else ""
        paper = "–" if record.get("paper") is None else f"{record['paper']:.2f}"
        part = "" if record["fraction"] == 1 else f" ({record['fraction']:.0%} of the labels)"
        lines.append(
            f"| {record['dataset']}{part} | {record['protocol']} | {record['model']['model']} "
            f"| {record['model'].get('weights', '–')} | {record['metric']} "
            f"| {_number(record['value'])}{spread} ({_number(low)} – {_number(high)}) "
            f"| {len(record['seeds'])} | {paper} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
