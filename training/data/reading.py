"""Images and masks of labelled samples: read as scenes are, and laid on one grid.

An image goes through `open_scene`, so that what a network is tuned and scored on is what it is
later given to map: the same bands, radiometry and validity.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from deo.bands import BandSet, Pixels
from deo.errors import BandError, DataError, RadiometryError, SceneError
from deo.scene.formats import Door, check_whole, open_raster
from deo.scene.grid import Grid, relate
from deo.scene.opening import open_scene
from deo.scene.raster import RasterSource
from deo.scene.resample import resample, taps
from deo.scene.scene import Scene
from deo.scene.units import FloatJudge
from deo.sensors.evidence import CURE
from deo.sensors.floats import float_evidence
from deo.training.data.placing import place

_CURE = (
    "; for all images of a data set alike, --scale and --offset say it, or the tags of the files, "
    "or store reflectance or digital numbers (reflectance x 10 000)"
)


class GridImage(NamedTuple):
    """One image: its pixels in digital numbers, and where they lie.

    `display`: bytes without any evidence of a scale, as pictures are.
    """

    pixels: Pixels
    grid: Grid
    display: bool


class LabelMask(NamedTuple):
    """A mask as stored, (H, W).

    `known`: False where the mask does not reach, or holds no number.
    `nodata`: the value that the file declares to mean nothing.
    """

    values: NDArray[Any]
    known: NDArray[np.bool_]
    nodata: float | None = None


def open_quietly(source: Any, *, door: Door = Door.CHIP, **options: Any) -> Scene:
    """Open one of many scenes: notes that hold for all of them are not logged again and again."""
    logger = logging.getLogger("deo.scene")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return open_scene(source, door=door, **options)
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Say which file of a data set an error is about.

    Raises:
        DataError: it cannot be opened or read.
        RadiometryError: its scale or offset cannot be told.
    """
    try:
        yield
    except SceneError as error:
        raise DataError(f"{path} cannot be read: {str(error).removeprefix(f'{path}: ')}") from error
    except RadiometryError as error:
        raise RadiometryError(f"{path}: {str(error).removesuffix(CURE)}{_CURE}") from error


def read_image(
    path: Path,
    *,
    bands: BandSet,
    declared: bool = True,
    scale: float | None = None,
    offset: float | None = None,
    judge_floats: FloatJudge = float_evidence,
) -> GridImage:
    """The bands of an image as (C, H, W) digital numbers with their validity.

    Args:
        bands: what to read, in this order; of a file that names no band, all that it holds.
        declared: the data set promises this stored order, which names in a file may not contradict.
        scale, offset: see `open_scene`.
        judge_floats: see `open_scene`; that of a data set is `float_judge`.

    Raises:
        DataError: the file is missing or unreadable.
        BandError: a band is missing, or the names of the bands contradict `bands`.
        RadiometryError: the scale or offset cannot be told.
    """
    options: dict[str, Any] = {"bands": bands, "scale": scale, "offset": offset}
    with errors_naming(path), open_quietly(path, judge_floats=judge_floats, **options) as scene:
        if declared:
            _check_order(path, scene)
        for asset in scene.assets:
            assert isinstance(asset.source, RasterSource), "it was opened from a path"
            asset.source.handle.use("read it", lambda dataset: check_whole(dataset, str(path)))
        whole = scene.whole
        display = scale is None and is_display(scene)
        return GridImage(scene.read(whole), scene.grid, display)


def is_display(scene: Scene) -> bool:
    """Whether a scene holds bytes that nothing brings to digital numbers."""
    return scene.radiometry.assumed and all(
        asset.dtype in ("uint8", "int8") for asset in scene.assets
    )


def _check_order(path: Path, scene: Scene) -> None:
    indexes = [asset.index for asset in scene.assets]
    if indexes != sorted(indexes):
        stored = [band for _, band in sorted(zip(indexes, scene.bands, strict=True))]
        raise BandError(
            f"wrong band order for {path}: the file names its bands {','.join(stored)}, "
            f"but they were declared as {scene.bands}"
        )


def read_labels(path: Path, *, onto: GridImage | None = None) -> LabelMask:
    """The first band of a mask as stored, nearest pixel for nearest pixel of an image.

    A mask of the image's grid is taken row by row; another is laid on it by its georeference,
    from another reference system too. Without a georeference the sizes have to agree.

    Raises:
        DataError: the file is missing or unreadable, or does not lie on the image.
    """
    try:
        with open_raster(path, door=Door.CHIP) as source:
            check_whole(source, str(path))
            values = np.asarray(source.read(1))
            nodata = source.nodata
            grid = Grid(
                height=source.height,
                width=source.width,
                crs=source.crs,
                transform=source.transform,
                georeferenced=source.transform != rasterio.Affine.identity(),
            )
    except (SceneError, RasterioError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    places = None if onto is None else place(onto.grid, grid, label=str(path))
    if places is None:
        return LabelMask(values, known, nodata)
    return LabelMask(places.take(values), places.take(known) & places.inside, nodata)


def lay_on(image: GridImage, first: GridImage, *, label: str) -> Pixels:
    """A second date on the grid of the first.

    Pixels of another size in the same directions come by the kernels of scenes (bilinear, area
    average); all others, such as of another reference system, by the nearest.

    Raises:
        DataError: as `place`.
    """
    grid, other = first.grid, image.grid
    places = place(grid, other, label=label)
    if places is None:
        return image.pixels
    try:
        relation = relate(grid, other, label=label)
    except SceneError:
        values, valid = places.take(image.pixels.values), places.take(image.pixels.valid)
        valid &= places.inside
        values[:, ~valid] = 0
        return Pixels(values, valid)
    rows = taps(relation.rows, 0, grid.height, other.height)
    cols = taps(relation.cols, 0, grid.width, other.width)
    needed = (slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    laid = resample(Pixels(image.pixels.values[:, *needed], image.pixels.valid[needed]), rows, cols)
    laid.values[:, ~laid.valid] = 0
    return laid
