"""A job in ranges of rows of tiles, computed apart and joined: the bytes that one run writes.

The ranges may be computed by processes that know nothing of each other, each with a spool of its
own. Every process plans the job for itself; what it needs for that is small and holds no weights.
"""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from deo.errors import ConfigError, OutputError
from deo.files.publish import check_space
from deo.maps.cache import gdal_settings
from deo.maps.compute import RowRange, all_rows, fill_rows, kept_rows, open_run, write_outputs
from deo.maps.job import Job, check_job, check_room, lacking
from deo.maps.rows import JoinedRows, RowReader, Shape
from deo.maps.spool import Spool, spooled
from deo.maps.windows import Tiling


def split_rows(tiling: Tiling, count: int) -> list[RowRange]:
    """The rows of tiles in `count` ranges of nearly equal size, or one each where they are fewer.

    A range computes once more what it needs of the row of tiles above it, so that few large ranges
    cost less than many small ones.

    Raises:
        ConfigError: `count` is below 1.
    """
    if count < 1:
        raise ConfigError(f"rows of tiles cannot be split into {count} ranges; give 1 or more")
    rows = len(tiling.rows.starts)
    cuts = [index * rows // min(count, rows) for index in range(min(count, rows) + 1)]
    return [RowRange(start, stop) for start, stop in itertools.pairwise(cuts)]


def compute_rows(
    job: Job,
    rows: RowRange,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute some rows of tiles of a job into a spool of their own, for `join_rows`.

    Args:
        resume: go on with what a killed run left; nothing is done where all is there.
        progress: told how many tiles have been dealt with.

    Raises:
        DeoError: as from `run_job`.
    """
    _check_ranges(job, [rows])
    check_job(job)
    shapes = _shapes(job, rows)
    space = sum(shape.bytes for shape in shapes) - spooled(_folder(job, rows))
    check_space(job.outputs[0].path, space)
    with (
        gdal_settings(),
        _open_range(job, rows, resume=resume) as spool,
        kept_rows(rows, spool),
    ):
        fill_rows(job, rows, spool, progress)


def join_rows(
    job: Job,
    ranges: Sequence[RowRange],
    *,
    overwrite: bool = False,
    look: Callable[[Sequence[RowReader]], None] | None = None,
) -> bool:
    """Write the outputs of a job whose rows of tiles `compute_rows` has computed in ranges.

    Args:
        ranges: all rows of tiles, from the top.
        overwrite: replace outputs that are there.
        look: as for `run_job`.

    Returns:
        False when the outputs were complete already.

    Raises:
        ConfigError: the ranges do not hold every row of tiles once.
        OutputError: a range is not finished, or something cannot be written.
    """
    _check_ranges(job, ranges)
    if ranges[0].start != 0 or ranges[-1].stop != len(job.tiling.rows.starts):
        raise ConfigError(
            f"{_named(ranges)} are not all of the {len(job.tiling.rows.starts)} rows of tiles"
        )
    check_job(job)
    check_room(job, kept=sum(spooled(_folder(job, rows)) for rows in ranges))
    with gdal_settings(), contextlib.ExitStack() as stack:
        # the lock of a run over all rows keeps such a run, and another join, out meanwhile
        whole = stack.enter_context(open_run(job, resume=True))
        stack.enter_context(kept_rows(all_rows(job), whole))
        spools = [stack.enter_context(_open_range(job, rows, resume=True)) for rows in ranges]
        is_lacking = overwrite or bool(lacking(job))
        if is_lacking:
            _refuse_unfinished(job, ranges, spools)
            write_outputs(
                job,
                [
                    JoinedRows([spool.layer(index) for spool in spools])
                    for index in range(len(job.shapes))
                ],
                look,
            )
        for spool in (*spools, whole):
            spool.remove()
    return is_lacking


def _folder(job: Job, rows: RowRange) -> Path:
    """Where the finished rows of a range wait: beside the first output."""
    first = job.outputs[0].path
    return first.with_name(f"{first.name}.rows-{rows.start}-{rows.stop}.partial")


def _shapes(job: Job, rows: RowRange) -> list[Shape]:
    """Of each layer's part of the map."""
    height = job.tiling.finished_rows(*rows).height
    return [
        shape._replace(height=-(-height // stride))
        for shape, stride in zip(job.shapes, job.model.reductions, strict=True)
    ]


def _open_range(job: Job, rows: RowRange, *, resume: bool) -> Spool:
    return Spool(
        _folder(job, rows),
        job={**job.record(), "rows": list(rows)},
        shapes=_shapes(job, rows),
        resume=resume,
    )


def _check_ranges(job: Job, ranges: Sequence[RowRange]) -> None:
    """Refuse ranges that are empty, go past the map, or leave a gap between them.

    Raises:
        ConfigError: one does.
    """
    end = len(job.tiling.rows.starts)
    follow = all(one.stop == other.start for one, other in itertools.pairwise(ranges))
    if not ranges or not follow or not all(0 <= start < stop <= end for start, stop in ranges):
        raise ConfigError(
            f"{_named(ranges)} are no rows of tiles one below the other; there are {end}, counted "
            "from 0"
        )


def _named(ranges: Sequence[RowRange]) -> str:
    return ", ".join(f"{start} to {stop}" for start, stop in ranges) or "no ranges"


def _refuse_unfinished(job: Job, ranges: Sequence[RowRange], spools: Sequence[Spool]) -> None:
    """Refuse to join what is not all there; of a range that has nothing no folder is left.

    Raises:
        OutputError: a range is not finished, or was thrown away since the input has changed.
    """
    missing = []
    for rows, spool in zip(ranges, spools, strict=True):
        if spool.finished < rows.stop - rows.start:
            missing.append(rows)
            if not spool.finished:
                spool.remove()
    if missing:
        raise OutputError(
            f"{job.outputs[0].path} cannot be written yet: rows of tiles {_named(missing)} are not "
            "finished; compute them first",
            retriable=True,
        )
