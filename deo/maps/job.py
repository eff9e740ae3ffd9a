"""One scene through a model into finished outputs: checked first, spooled, then written."""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio

from deo.contracts import Contract
from deo.errors import OutputError, SceneError
from deo.files.disk import check_space
from deo.files.records import differences
from deo.maps import geoparquet
from deo.maps.background import WriteBehind
from deo.maps.metadata import MapInfo
from deo.maps.runner import FeatureModel
from deo.maps.sinks import (
    DEFAULT_CHIP,
    check_suffix,
    check_target,
    damage,
    existing_tags,
    room,
    write_output,
)
from deo.maps.spool import SOURCE_ID, Rows, Shape, Spool, spooled
from deo.maps.stream import RowBand, extract_rows
from deo.maps.windows import Tiling
from deo.scene.gdal import PLACELESS
from deo.scene.inputs import Inputs
from deo.scene.lanes import side_by_side
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene

log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 2**20
"""GDAL's cache of decoded blocks where no row of tiles is read. Its own default is a twentieth of
the machine's memory."""

_CACHE_SHARE = 0.25
"""What the cache may take of the machine's memory while a scene is read."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file to write: the layer at `position` of the model's list, described by `info`."""

    path: Path
    position: int
    info: MapInfo


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides what is written.

    Args:
        outputs: at least one, each of another layer.
        batch_size: tiles per call of the model.
        chip: side of GeoParquet's chips, in pixels.
        inputs: the files that the scene is read from, which a resumed run must share.
    """

    scene: Scene
    model: FeatureModel
    contract: Contract
    tiling: Tiling
    outputs: tuple[Output, ...]
    batch_size: int
    chip: int = DEFAULT_CHIP
    inputs: Inputs

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
            "layers": [output.info.layer for output in self.outputs],
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
        lack, tags = damage(output.path), existing_tags(output.path)
        if tags is None and lack is None:
            raise OutputError(f"{output.path} exists and was not made by deo; it is left alone")
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
        check_target(output.path, output.info, chip=job.chip)
        if check_suffix(output.path) == ".parquet":
            size = {"height": job.scene.height, "width": job.scene.width}
            geoparquet.check_place(output.info, **size)
    check_space(job.outputs[0].path, _space(job))


def _space(job: Job) -> int:
    """Bytes that the disk must still take at the fullest moment, while the last is written."""
    needed = peak = sum(shape.bytes for shape in job.shapes)
    for output in job.outputs:
        more = room(output.path, job.shapes[output.position], output.info, chip=job.chip)
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
                    folder=job.folder,
                    height=job.scene.height,
                    width=job.scene.width,
                    chip=job.chip,
                )
            if look is not None:
                look([spool.layer(index) for index in range(len(job.shapes))])
        spool.remove()
    return True


@contextlib.contextmanager
def gdal_settings(cache: int = _CACHE_BYTES) -> Iterator[None]:
    """GDAL with a bounded cache, unless the user set one; a map without a place is no warning."""
    own = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": cache}
    with PLACELESS, rasterio.Env(**own):
        yield


@contextlib.contextmanager
def reading(scene: Scene, tile: int) -> Iterator[Scene]:
    """The scene as rows of tiles are read from it: each block fetched once, files side by side."""
    with gdal_settings(cache_size(scene, tile)), side_by_side(scene) as readable:
        yield readable


def cache_size(scene: Scene, tile: int) -> int:
    """Bytes of cache with which every stored block is fetched and unpacked once.

    Tiles are read row by row, so the blocks that one row of them touches are needed at once; with
    less, each tile would fetch its own anew. Says so where the machine's memory does not allow it.
    """
    needed = sum(
        _row_of_blocks(scene, source, tile)
        for source in {asset.source for asset in scene.assets}
        if isinstance(source, RasterSource)
    )
    most = int(_CACHE_SHARE * _memory())
    if needed > most and "GDAL_CACHEMAX" not in os.environ:
        log.warning(
            "%s: the blocks that a row of tiles touches take %d MiB, and a quarter of the memory "
            "is %d MiB: parts of the scene are read more than once. A smaller tile needs less; "
            "GDAL_CACHEMAX (in MiB) allows more",
            scene.name,
            needed >> 20,
            most >> 20,
        )
    return max(_CACHE_BYTES, min(needed, most))


def _row_of_blocks(scene: Scene, source: RasterSource, tile: int) -> int:
    """Bytes of a source's blocks that the tiles of one row may touch."""
    used = [
        (asset.index - 1, relation)
        for asset, relation in zip(scene.assets, scene.relations, strict=True)
        if asset.source is source
    ]
    rows = math.ceil(tile * used[0][1].rows.scale) + 2  # two for the kernel's rim
    bands = range(len(source.dtypes)) if source.interleaved else [index for index, _ in used]
    needed = 0
    for band in bands:
        height, width = source.blocks[band]
        down = min(-(-(rows - 1) // height) + 1, -(-source.grid.height // height))
        across = -(-source.grid.width // width)
        needed += down * height * across * width * np.dtype(source.dtypes[band]).itemsize
    return needed


def _memory() -> int:
    """Bytes that this process may use: the machine's, or its container's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes)


def _fill(job: Job, spool: Spool, progress: Callable[[int], None] | None) -> None:
    with reading(job.scene, job.tiling.rows.tile) as scene:
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
