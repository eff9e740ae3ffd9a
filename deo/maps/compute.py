"""A job computed: its rows of tiles into a spool, and then its outputs."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from deo.errors import SceneError
from deo.maps.background import WriteBehind
from deo.maps.cache import gdal_settings, reading
from deo.maps.job import Job, check_job, check_room, lacking
from deo.maps.rows import RowReader
from deo.maps.sinks import write_output
from deo.maps.spool import Spool, spooled
from deo.maps.stream import RowBand, extract_rows
from deo.scene.inputs import Inputs

log = logging.getLogger(__name__)


class RowRange(NamedTuple):
    """Rows of tiles of a tiling, from `start` to before `stop`."""

    start: int
    stop: int


def run_job(
    job: Job,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    look: Callable[[Sequence[RowReader]], None] | None = None,
) -> bool:
    """Compute the maps and write the outputs.

    What is interrupted stays in `job.folder`; with `resume` an equal job goes on from there and
    writes the same bytes as an uninterrupted run, and nothing is done where another run has
    finished meanwhile.

    Returns:
        False when, with `resume`, there was nothing to do: another run has just done it.

    Args:
        progress: told how many tiles have been dealt with.
        look: called with every layer's finished rows before they are deleted (pictures).

    Raises:
        OutputError: something cannot be written, or `resume` meets the rows of another job.
        SceneError: from reading; or the input changed meanwhile, and nothing was written or kept.
        ModelError: from computing.
    """
    rows = all_rows(job)
    check_job(job)
    check_room(job, kept=spooled(job.folder))
    with gdal_settings(), open_run(job, resume=resume) as spool:
        if resume and spool.finished < rows.stop and not lacking(job):
            spool.remove()
            return False
        with kept_rows(rows, spool):
            fill_rows(job, rows, spool, progress)
            write_outputs(job, [spool.layer(index) for index in range(len(job.shapes))], look)
        spool.remove()
    return True


def all_rows(job: Job) -> RowRange:
    return RowRange(0, len(job.tiling.rows.starts))


def open_run(job: Job, *, resume: bool) -> Spool:
    """The spool of a run over all rows of tiles."""
    return Spool(job.folder, job=job.record(), shapes=job.shapes, resume=resume)


def fill_rows(
    job: Job, rows: RowRange, spool: Spool, progress: Callable[[int], None] | None
) -> None:
    """Compute what a spool lacks of its rows of tiles.

    Raises:
        SceneError: the input changed meanwhile; nothing is kept.
    """
    first = rows.start + spool.finished
    if first < rows.stop:
        tops = [job.tiling.rows.starts[rows.start] // stride for stride in job.model.reductions]
        with reading(job.scenes, job.tiling.rows.tile) as scene:
            bands = extract_rows(
                scene,
                job.model,
                job.contract,
                job.tiling,
                batch_size=job.batch_size,
                window=job.tiling.finished_rows(first, rows.stop),
                progress=progress,
            )
            with WriteBehind[RowBand](spool.append, depth=1) as writer, contextlib.closing(bands):
                for band in bands:
                    writer.put(_counted_from(band, rows.start, tops))
    refuse_mixture(job.inputs, spool)


def _counted_from(band: RowBand, row: int, tops: Sequence[int]) -> RowBand:
    """A band of the whole map with its rows counted from the top of a range."""
    blocks = zip(band.blocks, tops, strict=True)
    return RowBand(
        band.tile_row - row, tuple(block._replace(row=block.row - top) for block, top in blocks)
    )


def write_outputs(
    job: Job,
    maps: Sequence[RowReader],
    look: Callable[[Sequence[RowReader]], None] | None,
) -> None:
    """Write every output from the finished maps of all layers, then show these to `look`."""
    for output in job.outputs:
        write_output(
            maps[output.position],
            output.info,
            output.path,
            output.sink,
            folder=job.folder,
            height=job.scene.height,
            width=job.scene.width,
        )
    if look is not None:
        look(maps)


def refuse_mixture(inputs: Inputs, spool: Spool) -> None:
    """Throw the rows away when a file changed while they were computed.

    Raises:
        SceneError: one did.
    """
    try:
        inputs.refuse_changes()
    except SceneError:
        spool.discard()
        raise


@contextlib.contextmanager
def kept_rows(rows: RowRange, spool: Spool) -> Iterator[None]:
    """Keep what an interrupted run finished, and say so; delete the folder when that is nothing."""
    try:
        yield
    except BaseException:
        if spool.finished:
            log.warning(
                "%d of %d rows of tiles are kept in %s; go on with resume, or delete it",
                spool.finished,
                rows.stop - rows.start,
                spool.folder,
            )
        else:
            spool.remove()
        raise
