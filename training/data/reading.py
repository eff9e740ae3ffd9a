"""Images and masks of labelled samples: read as scenes are, and laid on one grid.

An image goes through `open_scene`, so that what a network is tuned and scored on is what it is
later given to map: the same bands, radiometry and validity.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as transform_coordinates

from deo.bands import BandSet, Pixels
from deo.errors import BandError, DataError, DeoError, RadiometryError, SceneError
from deo.scene.doors import Door, check_whole, open_raster
from deo.scene.find import FloatJudge
from deo.scene.grid import Grid, relate, resample, taps
from deo.scene.scene import Scene, open_scene
from deo.scene.sources import RasterSource
from deo.scene.window import Window
from deo.sensors.evidence import CURE, Evidence
from deo.sensors.floats import Range, check_float_evidence, common_float_evidence, float_evidence

JUDGED = 64  # images of a data set that the unit of its floating-point numbers is judged by
_CURE = (
    "; in a data set the files have to say it: correct their tags, or store reflectance or digital "
    "numbers (reflectance x 10 000)"
)
_SAME = 0.01  # of a pixel: grids whose corners are nearer than this are one


class Image(NamedTuple):
    """One image: its pixels in digital numbers, and where they lie.

    `display`: bytes without any evidence of a scale, as pictures are.
    """

    pixels: Pixels
    grid: Grid
    display: bool


class Labels(NamedTuple):
    """A mask as stored, (H, W).

    `known`: False where the mask does not reach, or holds no number.
    `nodata`: the value that the file declares to mean nothing.
    """

    values: NDArray[Any]
    known: NDArray[np.bool_]
    nodata: float | None = None


class DataSet(Protocol):
    """A data set whose images are rasters; hashable."""

    def __hash__(self) -> int: ...

    @property
    def bands(self) -> BandSet: ...

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]: ...

    def images(self, root: Path, name: str) -> Sequence[Path]:
        """The rasters of one sample, masks aside."""


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
    judge_floats: FloatJudge = float_evidence,
) -> Image:
    """The bands of an image as (C, H, W) digital numbers with their validity.

    Args:
        bands: what to read, in this order; of a file that names no band, all that it holds.
        declared: the data set promises this stored order, which names in a file may not contradict.
        judge_floats: see `open_scene`; that of a data set is `float_judge`.

    Raises:
        DataError: the file is missing or unreadable.
        BandError: a band is missing, or the names of the bands contradict `bands`.
        RadiometryError: the scale or offset cannot be told.
    """
    with errors_naming(path), open_quietly(path, bands=bands, judge_floats=judge_floats) as scene:
        if declared:
            _check_order(path, scene)
        for asset in scene.assets:
            assert isinstance(asset.source, RasterSource), "it was opened from a path"
            asset.source.handle.use("read it", lambda dataset: check_whole(dataset, str(path)))
        whole = Window(row=0, col=0, height=scene.height, width=scene.width)
        return Image(scene.read(whole), scene.grid, is_display(scene))


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


def float_judge(data_set: DataSet, root: Path) -> FloatJudge:
    """Tells the unit of floating-point images from a sample of all, and refuses odd ones out."""

    def judge(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
        common = common_unit(data_set, root)
        check_float_evidence(dtype, ranges, common)
        return common

    return judge


@lru_cache(maxsize=8)
def common_unit(data_set: DataSet, root: Path) -> Evidence:
    """The unit of a data set's floating-point images, by the size of the numbers of up to 64.

    Raises:
        RadiometryError: it cannot be told.
    """
    names = [name for part in data_set.splits(root).values() for name in part]
    step = max(1, len(names) // JUDGED)
    images = [path for name in names[::step] for path in data_set.images(root, name)]
    sizes = [
        size
        for path in images
        for size in float_sizes(path) or float_sizes(path, bands=data_set.bands)
    ]
    try:
        return judge_together(sizes)
    except RadiometryError as error:
        raise RadiometryError(f"images of {root}: {error}") from error


class FloatSize(NamedTuple):
    """Type and ranges of an image whose unit the size of its floating-point numbers tells."""

    dtype: str
    ranges: Mapping[str, Range]


def float_sizes(source: Any, **options: Any) -> list[FloatSize]:
    """Of a raster: one, or none where metadata tell its unit, or where it cannot be read."""
    sizes: list[FloatSize] = []

    def note(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
        sizes.append(FloatSize(dtype, ranges))
        return Evidence(fact="not judged yet", scale=1.0)

    with contextlib.suppress(DeoError):  # what is wrong is said when the image is read
        open_quietly(source, judge_floats=note, **options).close()
    return sizes


def judge_together(sizes: Sequence[FloatSize]) -> Evidence:
    """One unit for several images.

    Raises:
        RadiometryError: it cannot be told.
    """
    dtype = sizes[0].dtype if sizes else "float32"
    return common_float_evidence(dtype, [size.ranges for size in sizes])


def read_labels(path: Path, *, onto: Image | None = None) -> Labels:
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
    there = None if onto is None else place(onto.grid, grid, label=str(path))
    if there is None:
        return Labels(values, known, nodata)
    return Labels(there.take(values), there.take(known) & there.inside, nodata)


class Places(NamedTuple):
    """Pixel of another grid under the centre of each own pixel, (H, W) each.

    `inside`: whether there is one; where not, `rows` and `cols` are 0.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    inside: NDArray[np.bool_]

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """(..., h, w) of the other grid as (..., H, W) of the own."""
        return np.asarray(values[..., self.rows, self.cols])


def place(own: Grid, other: Grid, *, label: str) -> Places | None:
    """Where the own pixels lie on another grid; None where the two are one.

    Raises:
        DataError: they do not overlap, or one has no georeference and another size.
    """
    if not (own.georeferenced and other.georeferenced):
        if (own.height, own.width) == (other.height, other.width):
            return None
        raise DataError(
            f"mismatched pair, sizes differ (rows x columns): image {own.height} x {own.width}, "
            f"{label} {other.height} x {other.width}, and not both are georeferenced; give them "
            "one size, or a georeference each"
        )
    one_system = own.crs == other.crs or not (own.crs and other.crs)
    if one_system and _is_same(own, other):
        return None
    rows, cols = _centres_on(own, other, one_system=one_system, label=label)
    inside = np.isfinite(rows) & np.isfinite(cols)
    inside &= (rows >= 0) & (rows < other.height) & (cols >= 0) & (cols < other.width)
    if not inside.any():
        raise DataError(
            f"{label} does not lie on its image: by their georeferences the two do not overlap; "
            "correct the one that is wrong (gdal_edit.py -a_ullr, -a_srs)"
        )
    return Places(
        np.where(inside, rows, 0).astype(np.intp), np.where(inside, cols, 0).astype(np.intp), inside
    )


def _is_same(own: Grid, other: Grid) -> bool:
    if (own.height, own.width) != (other.height, other.width):
        return False
    t = ~other.transform @ own.transform
    corners = [(0, 0), (own.width, 0), (0, own.height), (own.width, own.height)]
    return all(
        abs(t.a * x + t.b * y + t.c - x) < _SAME and abs(t.d * x + t.e * y + t.f - y) < _SAME
        for x, y in corners
    )


def _centres_on(
    own: Grid, other: Grid, *, one_system: bool, label: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of another grid under each own centre, rounded down."""
    y, x = np.mgrid[0.5 : own.height, 0.5 : own.width]
    x, y = _apply(own.transform, x, y)
    if not one_system:
        try:
            moved = transform_coordinates(own.crs, other.crs, x.ravel(), y.ravel())
        except (CRSError, RasterioError) as error:
            raise DataError(
                f"{label} cannot be brought from {other.crs} to {own.crs}: {error}"
            ) from error
        x, y = (np.reshape(axis, x.shape) for axis in moved[:2])
    cols, rows = _apply(~other.transform, x, y)
    # centres that fall between two pixels go to the same side whatever the rounding
    return np.floor(rows + 1e-6), np.floor(cols + 1e-6)


def _apply(t: Any, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def lay_on(image: Image, first: Image, *, label: str) -> Pixels:
    """A second date on the grid of the first.

    Pixels of another size in the same directions come by the kernels of scenes (bilinear, area
    average); all others, such as of another reference system, by the nearest.

    Raises:
        DataError: as `place`.
    """
    own, other = first.grid, image.grid
    there = place(own, other, label=label)
    if there is None:
        return image.pixels
    try:
        relation = relate(own, other, label=label)
    except SceneError:
        values, valid = there.take(image.pixels.values), there.take(image.pixels.valid)
        valid &= there.inside
        values[:, ~valid] = 0
        return Pixels(values, valid)
    rows = taps(relation.rows, 0, own.height, other.height)
    cols = taps(relation.cols, 0, own.width, other.width)
    needed = (slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    laid = resample(Pixels(image.pixels.values[:, *needed], image.pixels.valid[needed]), rows, cols)
    laid.values[:, ~laid.valid] = 0
    return laid
