"""Masks that are rasters: a product's scene classification, or a file of any grid."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from deo.errors import SceneError
from deo.scene.grid import Grid, Line
from deo.scene.raster import RasterSource
from deo.scene.window import Window

_EXACT = 1e-6  # pixels by which GDAL may miss the place of a pixel; 0 fails in rasterio 1.4
_PRECISION = 6  # decimals of a pixel, beyond which lies the noise of inverse transforms


class _Lines(NamedTuple):
    """How the rows and columns of a grid lie on those of a mask that runs in its direction."""

    rows: Line
    cols: Line


class Laid(NamedTuple):
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
        return ~self.out(self.lay(window))

    def out(self, laid: Laid) -> NDArray[np.bool_]:
        """(H, W): True where pixels are out."""
        out = laid.numbers != 0 if self.classes is None else np.isin(laid.numbers, self.classes)
        return np.where(laid.inside, out, self.outside)

    def lay(self, window: Window) -> Laid:
        """What the raster holds at the pixels of a window of the scene."""
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
        return Laid(numbers, inside)

    def _warp(self, dataset: Any, window: Window) -> Laid:
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
            return Laid(laid.read(self.index), laid.read(laid.count) > 0)

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
                    f"{self.raster.label} runs in a different direction from the scene, and "
                    "neither has a coordinate reference system to warp it by"
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
