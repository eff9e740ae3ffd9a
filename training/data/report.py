"""The parts of a preparation: one shard each, what was skipped, and how they make one folder."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deo.bands import MODEL_BANDS
from deo.errors import DataError, OutputError
from deo.files import atomic
from deo.files.disk import write_file
from deo.files.documents import load_json
from deo.training.data.bandstats import BandStatistics
from deo.training.data.shards import INDEX_NAME, Index, Shard

log = logging.getLogger(__name__)

PLAN_NAME = "plan.json"
_WRITTEN = r"shard-\d{5,}\.bin|\d{5,}\.json|plan\.json|index\.json|report\.md|write"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The result of one part: its shard (None when nothing was usable) and what it saw.

    `radiometry`: how stored numbers became digital numbers, and for how many samples.
    """

    shard: Shard | None
    shape: tuple[int, int, int] | None
    dtype: str | None
    origins: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    statistics: dict[str, list[float]] = field(default_factory=dict)
    radiometry: dict[str, int] = field(default_factory=dict)


class Report(NamedTuple):
    """What a preparation made."""

    samples: int
    skipped: int
    shards: int
    bytes: int
    statistics: BandStatistics

    def table(self) -> str:
        """The report as markdown."""
        rows = [
            f"{self.samples} samples in {self.shards} shards ({self.bytes / 2**20:.1f} MiB), "
            f"{self.skipped} skipped",
            "",
            "| band | mean | std | min | max |",
            "|---|---|---|---|---|",
        ]
        rows += [
            f"| {name} | {row['mean']:.2f} | {row['std']:.2f} | {row['min']:g} | {row['max']:g} |"
            for name, row in self.statistics.rows(MODEL_BANDS.names).items()
        ]
        return "\n".join(rows)


def check_plan(folder: Path, ours: dict[str, Any]) -> None:
    """Record what a folder is for, or refuse one that was begun for something else.

    Args:
        ours: the settings, of JSON's own types.

    Raises:
        OutputError: other settings stand there, or shards of other origin.
    """
    path = folder / PLAN_NAME
    theirs = _read_plan(path)
    if theirs is not None:
        changed = [
            f"{name}: {theirs.get(name)!r} -> {value!r}"
            for name, value in ours.items()
            if theirs.get(name) != value
        ]
        if changed:
            raise OutputError(
                f"{folder} was begun with other settings ({'; '.join(changed)}); repeat those, "
                "or choose another folder"
            )
    elif (folder / INDEX_NAME).exists() and not path.exists():
        raise OutputError(f"{folder} holds shards that `deo prepare` did not make; choose another")
    else:
        if path.exists():  # damaged: what the parts were made with is not known
            for part in (folder / "parts").glob("*.json"):
                part.unlink()
        write_file(path, json.dumps(ours, indent=1) + "\n")


def _read_plan(path: Path) -> dict[str, Any] | None:
    """The settings that a folder was begun with; None where there are none, or damaged ones."""
    if not path.exists():
        return None
    try:
        found = load_json(path)
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__}, no table of settings")
    except (ValueError, TypeError) as error:
        log.warning("%s is damaged (%s); every shard is made again", path, error)
        return None
    return found


def remove_unfinished(folder: Path) -> None:
    """Delete the hidden files that killed runs left; the folder has to be claimed."""
    for place in (folder, folder / "parts"):
        atomic.remove_unfinished(place, _WRITTEN)


def is_done(folder: Path, number: int) -> bool:
    """Whether a part need not be made again. A damaged one has to."""
    path = part_path(folder, number)
    if not path.exists():
        return False
    try:
        part = load_part(folder, number)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is damaged (%s); its shard is made again", path, error)
        return False
    if part.shard is None or part.shape is None or part.dtype is None:
        return True
    wanted = part.shard.count * int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize
    shard = folder / part.shard.file
    return shard.is_file() and shard.stat().st_size == wanted


def load_part(folder: Path, number: int) -> Part:
    path = part_path(folder, number)
    found = load_json(path)
    try:
        if found["shard"] is not None:
            found["shard"], found["shape"] = Shard(**found["shard"]), tuple(found["shape"])
        found["skipped"] = [(name, reason) for name, reason in found["skipped"]]
        return Part(**found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no record of a shard ({error}); remove it and prepare again"
        ) from error


def finish(folder: Path, parts: list[Part], *, source: str) -> Report:
    """Write the lists, the report and, last, the index.

    Raises:
        DataError: there is no sample, or they differ in shape or type.
    """
    skipped = [row for part in parts for row in part.skipped]
    _write_table(folder / "skipped.csv", ("origin", "reason"), skipped)
    full = [part for part in parts if part.shard is not None]
    if not full:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in skipped[:3])
        raise DataError(
            f"{source} gave no sample: {len(skipped)} records were skipped, the others held too "
            f"little data{reasons}"
        )
    kinds = {(part.shape, part.dtype) for part in full}
    if len(kinds) > 1:
        raise DataError(f"{source} holds samples of different shapes and types: {kinds}")
    origins = [origin for part in full for origin in part.origins]
    _write_table(folder / "samples.csv", ("sample", "origin"), enumerate(origins))
    statistics = BandStatistics.empty(len(MODEL_BANDS))
    for part in full:
        statistics = statistics.merged(BandStatistics.from_record(part.statistics))
    shape, dtype = full[0].shape, full[0].dtype
    assert shape is not None
    assert dtype is not None
    index = Index(
        dtype=dtype,
        shape=shape,
        bands=MODEL_BANDS.names,
        shards=tuple(part.shard for part in full if part.shard is not None),
        details={
            "source": source,
            "aerial": sum(origin.endswith("+aerial") for origin in origins),
            "radiometry": dict(sum((Counter(part.radiometry) for part in full), Counter())),
            "statistics": statistics.rows(MODEL_BANDS.names),
        },
    )
    report = Report(
        samples=len(origins),
        skipped=len(skipped),
        shards=len(full),
        bytes=len(origins) * index.sample_bytes,
        statistics=statistics,
    )
    write_file(folder / "report.md", report.table() + "\n")
    index.write(folder)
    return report


def part_path(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{number:05d}.json"


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic.written(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
