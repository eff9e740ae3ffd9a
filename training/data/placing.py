"""Where the pixels of one grid lie on another."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as transform_coordinates

from deo.errors import DataError
from deo.scene.grid import Grid

_SAME = 0.01  # of a pixel: grids whose corners are nearer than this are one


class Places(NamedTuple):
    """Pixel of another grid under the centre of each pixel, (H, W) each.

    `inside`: whether there is one; where not, `rows` and `cols` are 0.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    inside: NDArray[np.bool_]

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """(..., h, w) of the other grid as (..., H, W) of the grid."""
        return np.asarray(values[..., self.rows, self.cols])


def place(grid: Grid, other: Grid, *, label: str) -> Places | None:
    """Where the pixels of a grid lie on another grid; None where the two are one.

    Raises:
        DataError: they do not overlap, or one has no georeference and another size.
    """
    if not (grid.georeferenced and other.georeferenced):
        if (grid.height, grid.width) == (other.height, other.width):
            return None
        raise DataError(
            f"mismatched pair, sizes differ (rows x columns): image {grid.height} x {grid.width}, "
            f"{label} {other.height} x {other.width}, and not both are georeferenced; give them "
            "one size, or a georeference each"
        )
    one_system = grid.crs == other.crs or not (grid.crs and other.crs)
    if one_system and _is_same(grid, other):
        return None
    rows, cols = _centres_on(grid, other, one_system=one_system, label=label)
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


def _is_same(grid: Grid, other: Grid) -> bool:
    if (grid.height, grid.width) != (other.height, other.width):
        return False
    t = ~other.transform @ grid.transform
    corners = [(0, 0), (grid.width, 0), (0, grid.height), (grid.width, grid.height)]
    return all(
        abs(t.a * x + t.b * y + t.c - x) < _SAME and abs(t.d * x + t.e * y + t.f - y) < _SAME
        for x, y in corners
    )


def _centres_on(
    grid: Grid, other: Grid, *, one_system: bool, label: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of another grid under each centre, rounded dgrid."""
    y, x = np.mgrid[0.5 : grid.height, 0.5 : grid.width]
    x, y = _apply(grid.transform, x, y)
    if not one_system:
        try:
            moved = transform_coordinates(grid.crs, other.crs, x.ravel(), y.ravel())
        except (CRSError, RasterioError) as error:
            raise DataError(
                f"{label} cannot be brought from {other.crs} to {grid.crs}: {error}"
            ) from error
        x, y = (np.reshape(axis, x.shape) for axis in moved[:2])
    cols, rows = _apply(~other.transform, x, y)
    # centres that fall between two pixels go to the same side whatever the rounding
    return np.floor(rows + 1e-6), np.floor(cols + 1e-6)


def _apply(t: Any, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
