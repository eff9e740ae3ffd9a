"""Masks that are rasters: a product's scene classification, or a file of any grid."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from deo.errors import ConfigError, SceneError
from deo.scene.assets import Inventory
from deo.scene.formats import Door
from deo.scene.grid import Grid, Line
from deo.scene.mask import Mask
from deo.scene.raster import RasterSource
from deo.scene.sampling import gone_through, spread_windows
from deo.scene.window import Window
from deo.sensors.registry import sensor_of

CLOUDS = "clouds"
"""The mask that a product's own scene classification makes."""

_EXACT = 1e-6  # pixels by which GDAL may miss the place of a pixel; 0 fails in rasterio 1.4
_PRECISION = 6  # decimals of a pixel, beyond which lies the noise of inverse transforms


class _Lines(NamedTuple):
    """How the rows and columns of a grid lie on those of a mask that runs in its direction."""

    rows: Line
    cols: Line


class _Laid(NamedTuple):
    """Numbers of a mask's raster on a window, and where the raster reaches."""

    numbers: NDArray[Any]
    inside: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class RasterMask:
    """A raster laid over a scene: each pixel of the scene goes by the nearest of the raster.

    Args:
        name: for people, such as `SCL`.
        raster, index: where its numbers are; indexes count from 1.
        grid: the scene's.
        classes: numbers that take a pixel out; None: every number but 0.
        outside: whether pixels are out to which the raster does not reach.
        share: of the scene's pixels, those that it takes out; None: not measured.
    """

    name: str
    raster: RasterSource
    index: int
    grid: Grid
    classes: tuple[int, ...] | None
    outside: bool
    share: float | None = None

    @property
    def source(self) -> str:
        if self.classes is None:
            return f"{self.name} (every number but 0 is out)"
        listed = ", ".join(map(str, self.classes))
        return f"{self.name} (class{'es' if len(self.classes) > 1 else ''} {listed} out)"

    def record(self) -> dict[str, Any]:
        """What it took and by what, as JSON-able values."""
        return {
            "name": self.name,
            "file": self.raster.label.rsplit("/", 1)[-1],
            "classes": None if self.classes is None else list(self.classes),
            "share": self.share,
        }

    def valid(self, window: Window) -> NDArray[np.bool_]:
        return ~self._out(self._lay(window))

    def _out(self, laid: _Laid) -> NDArray[np.bool_]:
        out = laid.numbers != 0 if self.classes is None else np.isin(laid.numbers, self.classes)
        return np.where(laid.inside, out, self.outside)

    def _lay(self, window: Window) -> _Laid:
        if self._lines is None:
            return self.raster.handle.use("read the mask", lambda data: self._warp(data, window))
        rows, inside_rows = _nearest(self._lines.rows, window.row, window.height, self._size[0])
        cols, inside_cols = _nearest(self._lines.cols, window.col, window.width, self._size[1])
        inside = inside_rows[:, None] & inside_cols
        numbers = np.zeros(inside.shape, self.raster.dtypes[self.index - 1])
        if inside.any():
            top, left = int(rows[inside_rows].min()), int(cols[inside_cols].min())
            box = RasterioWindow(
                left, top, int(cols[inside_cols].max()) - left + 1,
                int(rows[inside_rows].max()) - top + 1,
            )  # fmt: skip
            stored = self.raster.handle.use(
                "read the mask", lambda data: data.read(self.index, window=box)
            )
            picked = np.ix_(rows[inside_rows] - top, cols[inside_cols] - left)
            numbers[np.ix_(inside_rows, inside_cols)] = stored[picked]
        return _Laid(numbers, inside)

    def _warp(self, dataset: Any, window: Window) -> _Laid:
        """By GDAL, pixel by pixel, so that numbers do not depend on the window."""
        with WarpedVRT(
            dataset,
            crs=self.grid.crs,
            transform=self.grid.transform * Affine.translation(window.col, window.row),
            height=window.height,
            width=window.width,
            resampling=Resampling.nearest,
            tolerance=_EXACT,
            src_nodata=None,
            nodata=None,
            add_alpha=True,
        ) as laid:
            return _Laid(laid.read(self.index), laid.read(laid.count) > 0)

    @property
    def _size(self) -> tuple[int, int]:
        return self.raster.grid.height, self.raster.grid.width

    @cached_property
    def _lines(self) -> _Lines | None:
        """None where the raster has to be warped.

        Raises:
            SceneError: nothing says how the raster lies on the scene.
        """
        grid, other = self.grid, self.raster.grid
        if not (grid.georeferenced and other.georeferenced):
            rows, cols = other.height / grid.height, other.width / grid.width
            # without a place, files of one scene cover the same ground, as those of bands do
            if rows != cols or (rows != 1 and grid.georeferenced != other.georeferenced):
                raise SceneError(
                    f"{self.raster.label} cannot be laid on the scene, since one of them has no "
                    f"georeference and they differ in size: {_sides(other)} and {_sides(grid)} "
                    f"pixels. Give a mask of the scene's size, or one with a transform and CRS"
                )
            return _Lines(Line(rows, 0.0), Line(cols, 0.0))
        if grid.crs != other.crs:
            if grid.crs is None or other.crs is None:
                raise SceneError(
                    f"{self.raster.label} cannot be laid on the scene, since one of them has no "
                    "coordinate reference system; state it in the file (gdal_edit.py -a_srs)"
                )
            return None
        t = ~other.transform @ grid.transform
        if abs(t.b) > 1e-6 or abs(t.d) > 1e-6:
            if grid.crs is None:
                raise SceneError(
                    f"{self.raster.label} runs in a different direction from the scene, and neither "
                    "has a coordinate reference system to warp it by"
                )
            return None
        return _Lines(Line(t.e, t.f), Line(t.a, t.c))


def _sides(grid: Grid) -> str:
    return f"{grid.height} x {grid.width}"


def _nearest(
    line: Line, first: int, count: int, length: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Of `count` pixels, those of another axis that their centres lie in, and which there are."""
    centres = line.scale * (first + np.arange(count) + 0.5) + line.shift
    picks = np.floor(np.round(centres, _PRECISION)).astype(np.intp)
    return picks, (picks >= 0) & (picks < length)


def masks_of(
    mask: str | os.PathLike[str] | Mask | None,
    classes: Sequence[int] | None,
    *,
    inventory: Inventory,
    grid: Grid,
) -> tuple[Mask, ...]:
    """The mask that a user means, checked against the scene that it is laid over; none for None.

    Args:
        mask: `clouds` for the scene classification that lies beside the bands, or a raster file;
            a `Mask` stays as it is.
        classes: the numbers that take a pixel out; None: of a classification the clouds, their
            shadows and what was not measured; of a file every number but 0.
        inventory: what the scene is made of.

    Raises:
        ConfigError: classes are given where there is no raster for them.
        SceneError: there is no classification, or the mask does not fit or leaves nothing.
    """
    if not isinstance(mask, str | os.PathLike):
        if classes is not None:
            given = "no mask is given" if mask is None else "the mask given is none"
            raise ConfigError(f"mask classes go with a raster, and {given}")
        return () if mask is None else (mask,)
    if classes is not None and not classes:
        raise ConfigError("no mask classes are given; leave them out, or name at least one")
    if mask == CLOUDS:
        return (_checked(_classification(inventory, classes, grid), inventory.name),)
    return (_checked(_file_mask(os.fspath(mask), classes, grid), inventory.name),)


def _file_mask(path: str, classes: Sequence[int] | None, grid: Grid) -> RasterMask:
    raster = RasterSource.open(path, door=Door.NAMED)
    if len(raster.dtypes) != 1:
        raster.close()
        raise SceneError(
            f"{raster.label} has {len(raster.dtypes)} bands; a mask has one, whose numbers other "
            f"than 0 are out (gdal_translate -b chooses one)"
        )
    return RasterMask(
        name=raster.label.rsplit("/", 1)[-1],
        raster=raster,
        index=1,
        grid=grid,
        classes=None if classes is None else tuple(classes),
        outside=False,
    )


def _classification(inventory: Inventory, classes: Sequence[int] | None, grid: Grid) -> RasterMask:
    """The classification that comes with the bands, opened."""
    sensor = sensor_of(inventory.assets[0].band)
    layer = inventory.classification
    if layer is None:
        name = f" ({sensor.classification})" if sensor.classification else ""
        raise SceneError(
            f"{inventory.name}: mask `clouds` needs a scene classification{name} beside the bands, "
            f"and there is none. Give a mask of your own instead: --mask FILE"
        )
    raster = RasterSource.open(layer.path, door=layer.door)
    return RasterMask(
        name=sensor.classification,
        raster=raster,
        index=layer.band,
        grid=grid,
        classes=tuple(sensor.cloud_classes if classes is None else classes),
        outside=True,
    )


def _checked(mask: RasterMask, scene: str) -> RasterMask:
    """The mask with the share that it takes, measured on every pixel up to 2**28 of them.

    Raises:
        SceneError: it does not overlap the scene, or takes all of it.
    """
    try:
        pixels = out = reached = 0
        for window in spread_windows(mask.grid.height, mask.grid.width):
            laid = mask._lay(window)
            pixels += laid.inside.size
            reached += int(np.count_nonzero(laid.inside))
            out += int(np.count_nonzero(mask._out(laid)))
        if not reached and gone_through(mask.grid):
            raise SceneError(
                f"mask {mask.raster.label} does not overlap {scene}; is it of another place?"
            )
        if out == pixels:
            raise SceneError(
                f"mask {mask.source} takes every pixel of {scene}: nothing is left to read. "
                f"Choose another scene, or other classes (--mask-classes)"
            )
    except BaseException:
        mask.raster.close()
        raise
    return replace(mask, share=round(out / pixels, 6))
