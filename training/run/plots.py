"""Curves of a run as PNG pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deo.errors import DataError, OutputError, require
from deo.files.atomic import written
from deo.training.run.journal import METRICS_NAME, as_number, read_metrics

PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("objective", ("loss", "comp", "expa")),
    ("optical distillation (cosine)", ("cls", "patch")),
    ("head cosine", ("head_cosine",)),
    ("effective rank", ("effective_rank",)),
    ("gradient norm", ("grad_norm",)),
    ("teacher behind student", ("drift",)),
    ("learning rate", ("lr",)),
    ("samples per second", ("samples_per_second",)),
    ("part of the time waiting for data", ("wait_share",)),
    ("kNN probe accuracy", ("probe",)),
)
"""Title and columns of each panel; columns that a run does not have are left out."""


def plot_run(run: Path, output: Path) -> Path:
    """Draw the curves of a run's `metrics.jsonl`.

    Raises:
        DataError: there are no metrics.
        OutputError: the picture cannot be written.
    """
    records = read_metrics(run / METRICS_NAME)
    panels = [(title, drawn) for title, names in PANELS if (drawn := _curves(records, names))]
    if not panels:
        raise DataError(f"{run / METRICS_NAME} holds no curve yet")
    matplotlib = require("matplotlib", extra="train")
    matplotlib.use("Agg")
    figure_module = require("matplotlib.figure", extra="train")
    rows = -(-len(panels) // 2)
    figure = figure_module.Figure(figsize=(11, 2.6 * rows), layout="constrained")
    for position, (title, curves) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, 2, position)
        for name, (steps, values) in curves.items():
            axes.plot(steps, values, linewidth=1, label=name)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend(fontsize="small")
    figure.suptitle(run.resolve().name)
    try:
        with written(output) as new:
            figure.savefig(new, dpi=110, format="png")
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}") from error
    return output


def _curves(
    records: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, tuple[list[int], list[float]]]:
    curves = {}
    for name in names:
        points = [
            (record["step"], value)
            for record in records
            if (value := as_number(record.get(name))) is not None
        ]
        if any(value for _, value in points):  # without an optical teacher its terms are all zero
            steps, values = zip(*points, strict=True)
            curves[name] = (list(steps), list(values))
    return curves
