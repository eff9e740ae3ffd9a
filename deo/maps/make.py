"""A job made into its outputs: refused, found complete, or computed; then drawn and described."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deo.errors import OutputError
from deo.maps.compute import run_job
from deo.maps.job import Job, Lack, Output, lacking
from deo.maps.metadata import MapInfo
from deo.maps.preview import check_picture, draw_classes, draw_preview
from deo.maps.readback import open_finished
from deo.maps.rows import RowReader
from deo.maps.sinks import ClassMapSink, check_apart
from deo.maps.stac import check_items, item_paths, write_items

log = logging.getLogger(__name__)


def make_outputs(
    job: Job,
    *,
    preview: Path | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Make the outputs of a job, or with `resume` those of them that are not complete.

    Args:
        preview: a PNG to draw of the class map, or of the last output where there is none.
        stac: also describe the outputs and the model beside them.
        overwrite: replace what is there.
        resume: keep what is complete, and go on with what a killed run left.
        progress: told (tiles dealt with, tiles in all).

    Returns:
        The files that hold the maps.

    Raises:
        DeoError: one of its children says what was wrong and what to do.
    """
    paths = [output.path for output in job.outputs]
    if stac:
        check_items(job.scene)
    items = [item for path in paths for item in item_paths(path)] if stac else []
    pictures = [] if preview is None else [preview]
    check_apart([*paths, *items, job.folder, *pictures], job.inputs.paths)
    refuse_existing(paths, overwrite=overwrite, resume=resume)
    lacks = [Lack(path, None) for path in paths] if overwrite else lacking(job)
    for path, reason in lacks:
        if reason is not None:
            log.warning("%s %s; it is made again", path, reason)
    # rows may be left over beside complete outputs, or another run may be at work on them, which
    # `run_job` finds out
    computed = bool(lacks or job.folder.exists()) and _run(job, preview, resume, progress)
    if not computed and preview is not None and not preview.exists():
        _draw_finished(job, preview)
    if stac:
        for output in job.outputs:
            write_items(output, job.scene, job.model)
    return paths


def refuse_existing(paths: Iterable[Path], *, overwrite: bool, resume: bool) -> None:
    """Refuse to replace an output that nobody said may be replaced.

    Raises:
        OutputError: one exists.
    """
    for path in paths:
        if path.exists() and not overwrite and not resume:
            raise OutputError(
                f"{path} exists; use --overwrite (overwrite=True) to replace it, or --resume "
                "(resume=True) to keep it if it is complete"
            )


def _run(
    job: Job, preview: Path | None, resume: bool, progress: Callable[[int, int], None] | None
) -> bool:
    """Compute, write and draw; False when it turned out that another run had just done it."""
    total, done = len(job.tiling), 0

    def count(tiles: int) -> None:
        nonlocal done
        done += tiles
        if progress is not None:
            progress(done, total)

    if preview is None:
        return run_job(job, resume=resume, progress=count)
    check_picture(preview)
    pictured = _pictured(job)

    def draw(maps: Sequence[RowReader]) -> None:
        _draw(job, preview, maps[pictured.position], pictured.info)

    return run_job(job, resume=resume, progress=count, look=draw)


def _draw_finished(job: Job, preview: Path) -> None:
    """Draw the picture that a complete output lacks."""
    check_picture(preview)
    pictured = _pictured(job)
    with open_finished(pictured.path, pictured.info) as finished:
        _draw(job, preview, finished.rows, finished.info)


def _pictured(job: Job) -> Output:
    """The class map, where there is one, else the coarsest layer."""
    maps = [output for output in job.outputs if isinstance(output.sink, ClassMapSink)]
    return maps[0] if maps else job.outputs[-1]


def _draw(job: Job, preview: Path, rows: RowReader, info: MapInfo) -> None:
    draw = draw_classes if isinstance(_pictured(job).sink, ClassMapSink) else draw_preview
    draw(preview, job.scene, rows, info)
