"""One scene through a model into finished outputs: checked first, spooled, then written."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from deo.errors import OutputError
from deo.preprocess import Contract
from deo.raster.background import WriteBehind
from deo.raster.disk import check_space
from deo.raster.extract import RowBand, extract_rows
from deo.raster.gdal import PLACELESS
from deo.raster.metadata import MapInfo
from deo.raster.model import FeatureModel
from deo.raster.scene import Scene
from deo.raster.sinks import DEFAULT_CHIP, check_target, existing_tags, write_output
from deo.raster.spool import Rows, Shape, Spool
from deo.raster.windows import Tiling

log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 2**20
"""GDAL's cache of decoded blocks, enough for the tiles of neighbouring reads. Its own default is a
twentieth of the machine's memory."""


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
        identity: further facts that a resumed run must share, e.g. the input's size and date.
    """

    scene: Scene
    model: FeatureModel
    contract: Contract
    tiling: Tiling
    outputs: tuple[Output, ...]
    batch_size: int
    chip: int = DEFAULT_CHIP
    identity: Mapping[str, Any]

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

    def record(self) -> dict[str, Any]:
        """What two runs share when one may finish the other's work."""
        return {
            **{key: value for output in self.outputs for key, value in output.info.tags.items()},
            **self.identity,
            "layers": [output.info.layer for output in self.outputs],
            "height": self.scene.height,
            "width": self.scene.width,
            "batch_size": self.batch_size,
            "device": self.model.device.type,
        }


def source_identity(source: Any) -> dict[str, Any]:
    """What tells one input from another when a run is resumed; not written into outputs."""
    if isinstance(source, np.ndarray):
        return {"source": hashlib.sha256(np.ascontiguousarray(source).tobytes()).hexdigest()}
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    found: list[list[Any]] = []
    for path in (os.fspath(path) for path in paths):
        if os.path.exists(path):
            for file in _files(path):
                facts = os.stat(file)
                found.append([os.path.abspath(file), facts.st_size, facts.st_mtime_ns])
        else:
            found.append([path])
    return {"source": found}


def _files(path: str) -> list[str]:
    """A file, or all files in a folder, which stays as young as it was when one of them changes."""
    if not os.path.isdir(path):
        return [path]
    below = (os.path.join(place, name) for place, _, names in os.walk(path) for name in names)
    return sorted(filter(os.path.isfile, below))


def is_complete(job: Job) -> bool:
    """Whether every output is there and was made as this job would make it.

    Raises:
        OutputError: one is there and was not, or is none of ours.
    """
    there = [output for output in job.outputs if output.path.exists()]
    for output in there:
        tags = existing_tags(output.path)
        if tags is None:
            raise OutputError(f"{output.path} exists and was not made by deo; it is left alone")
        wanted = output.info.tags
        changed = [key for key in {**tags, **wanted} if tags.get(key) != wanted.get(key)]
        if changed:
            raise OutputError(
                f"{output.path} exists and was made otherwise "
                f"({_differences(tags, wanted, changed)}); --overwrite replaces it"
            )
    return len(there) == len(job.outputs)


def check_job(job: Job) -> None:
    """Refuse before anything is computed what could not be written afterwards."""
    for output in job.outputs:
        check_target(output.path, output.info, chip=job.chip)
    check_space(job.outputs[0].path, sum(shape.bytes for shape in job.shapes))


def run_job(
    job: Job,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    look: Callable[[Sequence[Rows]], None] | None = None,
) -> None:
    """Compute the maps and write the outputs.

    What is interrupted stays in `job.folder`; with `resume` an equal job goes on from there and
    writes the same bytes as an uninterrupted run, and nothing is done where another run has
    finished meanwhile.

    Args:
        progress: told how many tiles have been dealt with.
        look: called with every layer's finished rows before they are deleted (pictures).

    Raises:
        OutputError: something cannot be written, or `resume` meets the rows of another job.
        SceneError, ModelError: from reading and computing.
    """
    check_job(job)
    with (
        gdal_settings(cache_size(job.scene, job.tiling.rows.tile)),
        Spool(job.folder, job=job.record(), shapes=job.shapes, resume=resume) as spool,
    ):
        if resume and not spool.finished and is_complete(job):
            spool.remove()  # another run finished the outputs before this one held the lock
            return
        with _hint(job, spool):
            _fill(job, spool, progress)
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


@contextlib.contextmanager
def gdal_settings(cache: int = _CACHE_BYTES) -> Iterator[None]:
    """GDAL with a bounded cache, unless the user set one; a map without a place is no warning."""
    own = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": cache}
    with PLACELESS, rasterio.Env(**own):
        yield


def cache_size(scene: Scene, tile: int) -> int:
    """Bytes of cache with which every stored block is decoded about once per row of tiles.

    Files in strips as wide as the raster need all strips of a row of tiles at once: with less,
    each tile would decode them anew.
    """
    needed = 0
    for source in {id(asset.source): asset.source for asset in scene.assets}.values():
        dataset = getattr(source, "dataset", None)
        if dataset is not None and dataset.block_shapes[0][1] >= dataset.width:
            rows = tile + 2 * dataset.block_shapes[0][0]
            sizes = sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
            needed += min(rows, dataset.height) * dataset.width * sizes
    return max(_CACHE_BYTES, min(needed, 1024 * 2**20))


def _fill(job: Job, spool: Spool, progress: Callable[[int], None] | None) -> None:
    rows = extract_rows(
        job.scene,
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


def _differences(old: Mapping[str, str], new: Mapping[str, str], keys: Sequence[str]) -> str:
    found = [
        f"{name} {before!r} there, {now!r} now"
        for key in keys
        for name, before, now in _parts(key, old.get(key), new.get(key))
    ]
    return "; ".join(found[:3]) + ("; ..." if len(found) > 3 else "")


def _parts(key: str, old: str | None, new: str | None) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two tags differ, where both hold JSON; else the tags themselves."""
    try:
        before, now = json.loads(old or ""), json.loads(new or "")
    except ValueError:
        before = now = None
    if not (isinstance(before, dict) and isinstance(now, dict)):
        yield key, old, new
        return
    for field in sorted(before.keys() | now.keys()):
        if before.get(field) != now.get(field):
            yield f"{key}.{field}", before.get(field), now.get(field)
