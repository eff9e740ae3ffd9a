"""From finished parts to a finished folder: its lists, its report and its index."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.files import atomic
from deo.files.publish import write_file
from deo.training.data.bandstats import BandStatistics
from deo.training.data.parts import Part
from deo.training.data.shard_index import Index


class PreparationReport(NamedTuple):
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


def finish(folder: Path, parts: list[Part], *, source: str) -> PreparationReport:
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
    index = _index(full, source=source, statistics=statistics)
    report = PreparationReport(
        samples=len(origins),
        skipped=len(skipped),
        shards=len(full),
        bytes=len(origins) * index.sample_bytes,
        statistics=statistics,
    )
    write_file(folder / "report.md", report.table() + "\n")
    index.write(folder)
    return report


def _index(full: Sequence[Part], *, source: str, statistics: BandStatistics) -> Index:
    """The index of the parts that have a shard, which are alike in shape and type."""
    shape, dtype = full[0].shape, full[0].dtype
    assert shape is not None
    assert dtype is not None
    return Index(
        dtype=dtype,
        shape=shape,
        bands=MODEL_BANDS.names,
        shards=tuple(part.shard for part in full if part.shard is not None),
        details={
            "source": source,
            "aerial": sum(origin.endswith("+aerial") for part in full for origin in part.origins),
            "radiometry": dict(sum((Counter(part.radiometry) for part in full), Counter())),
            "statistics": statistics.rows(MODEL_BANDS.names),
        },
    )


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic.written(path) as new, new.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
