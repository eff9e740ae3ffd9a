"""One scene through a model into finished outputs: checked first, spooled, then written."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deo.contracts import InputContract
from deo.errors import OutputError, SceneError
from deo.files.publish import check_space
from deo.files.records import differences
from deo.maps.background import WriteBehind
from deo.maps.cache import gdal_settings, reading
from deo.maps.metadata import MapInfo
from deo.maps.pair import joined
from deo.maps.rows import Rows, Shape
from deo.maps.runner import FeatureModel
from deo.maps.sinks import Sink, check_target, write_output
from deo.maps.spool import SOURCE_ID, Spool, spooled
from deo.maps.stream import RowBand, extract_rows
from deo.maps.windows import Tiling
from deo.scene.inputs import Inputs
from deo.scene.scene import Scene

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file to write: the layer at `position` of the model's list, described by `info`."""

    path: Path
    position: int
    info: MapInfo
    sink: Sink


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides what is written.

    Args:
        scenes: one, or two dates of one grid, whose bands follow each other.
        outputs: at least one; the rows of a run that is under way wait beside the first.
        batch_size: tiles per call of the model.
        inputs: the files that the scenes are read from, which a resumed run must share.

    Raises:
        SceneError: the scenes do not share a grid.
    """

    scenes: tuple[Scene, ...]
    model: FeatureModel
    contract: InputContract
    tiling: Tiling
    outputs: tuple[Output, ...]
    batch_size: int
    inputs: Inputs

    def __post_init__(self) -> None:
        joined(self.scenes)

    @property
    def scene(self) -> Scene:
        """The first one, which says where the map lies."""
        return self.scenes[0]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        sizes = zip(self.model.channels, self.model.reductions, strict=True)
        scene = self.scene
        return tuple(
            Shape(channels, -(-scene.height // stride), -(-scene.width // stride))
            for channels, stride in sizes
        )

    @property
    def folder(self) -> Path:
        """Where finished rows wait: beside the first output."""
        first = self.outputs[0].path
        return first.with_name(f"{first.name}.partial")

    def record(self) -> dict[str, object]:
        """What two runs share when one may finish the other's work."""
        return {
            **{key: value for output in self.outputs for key, value in output.info.tags.items()},
            "source": self.inputs.record(),
            # each once: the same rows serve any number of outputs
            "layers": list(dict.fromkeys(output.info.layer for output in self.outputs)),
            "height": self.scene.height,
            "width": self.scene.width,
            "batch_size": self.batch_size,
            "device": self.model.device.type,
        }


class Lack(NamedTuple):
    """An output that is still to be made; `reason` is None where there is no file."""

    path: Path
    reason: str | None


def lacking(job: Job) -> list[Lack]:
    """The outputs that are absent, damaged, or made before the input changed.

    Raises:
        OutputError: one was made with other settings, or is none of ours.
    """
    lacks = []
    for output in job.outputs:
        if not output.path.exists():
            lacks.append(Lack(output.path, None))
            continue
        lack, tags = output.sink.damage(output.path), output.sink.read_tags(output.path)
        if tags is None and lack is None:
            raise OutputError(
                f"{output.path} exists and was not made by deo as a {output.sink.title}; it is "
                "left alone"
            )
        changed = [] if tags is None else differences(tags, output.info.tags)
        refused = [one for one in changed if one.name != SOURCE_ID]
        if refused:
            raise OutputError(
                f"{output.path} exists and was made otherwise ("
                + "; ".join(map(str, refused[:3]))
                + ("; ..." if len(refused) > 3 else "")
                + "); --overwrite replaces it"
            )
        if lack is not None:
            lacks.append(Lack(output.path, f"is damaged ({lack})"))
        elif changed and job.inputs.known:
            lacks.append(Lack(output.path, "was made of another state of its input"))
    return lacks


def check_job(job: Job) -> None:
    """Refuse before anything is computed what could not be written afterwards."""
    for output in job.outputs:
        check_target(
            output.path,
            output.info,
            output.sink,
            height=job.scene.height,
            width=job.scene.width,
        )
    check_space(job.outputs[0].path, _space(job))


def _space(job: Job) -> int:
    """Bytes that the disk must still take at the fullest moment, while the last is written."""
    needed = peak = sum(shape.bytes for shape in job.shapes)
    for output in job.outputs:
        more = output.sink.room(job.shapes[output.position], output.info)
        needed += more.output
        peak = max(peak, needed + more.scratch)
    return peak - spooled(job.folder)


def run_job(
    job: Job,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    look: Callable[[Sequence[Rows]], None] | None = None,
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
    check_job(job)
    with (
        gdal_settings(),
        Spool(job.folder, job=job.record(), shapes=job.shapes, resume=resume) as spool,
    ):
        if resume and spool.finished < len(job.tiling.rows.starts) and not lacking(job):
            spool.remove()
            return False
        with _hint(job, spool):
            _fill(job, spool, progress)
            refuse_mixture(job.inputs, spool)
            for output in job.outputs:
                write_output(
                    spool.layer(output.position),
                    output.info,
                    output.path,
                    output.sink,
                    folder=job.folder,
                    height=job.scene.height,
                    width=job.scene.width,
                )
            if look is not None:
                look([spool.layer(index) for index in range(len(job.shapes))])
        spool.remove()
    return True


def _fill(job: Job, spool: Spool, progress: Callable[[int], None] | None) -> None:
    with reading(job.scenes, job.tiling.rows.tile) as scene:
        rows = extract_rows(
            scene,
            job.model,
            job.contract,
            job.tiling,
            batch_size=job.batch_size,
            finished=spool.finished,
            progress=progress,
        )
        with WriteBehind[RowBand](spool.append, depth=1) as writer, contextlib.closing(rows):
            for band in rows:
                writer.put(band)


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
def _hint(job: Job, spool: Spool) -> Iterator[None]:
    """Keep what an interrupted run finished, and say so; delete the folder when that is nothing."""
    try:
        yield
    except BaseException:
        if spool.finished:
            log.warning(
                "%d of %d rows of tiles are kept in %s; go on with resume, or delete it",
                spool.finished,
                len(job.tiling.rows.starts),
                job.folder,
            )
        else:
            spool.remove()
        raise
