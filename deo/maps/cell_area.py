"""How large the cells of a map are on the ground, whatever its projection does to areas."""

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError
from rasterio.warp import transform as reproject

from deo.errors import SceneError

_EQUAL_AREA = "EPSG:6933"  # EASE-Grid 2.0: cylindrical, on the ellipsoid of WGS 84
_TURN = 2 * 17367530.4451615  # metres around the Earth in it
_NODES = 33
"""Columns where areas are computed; in between they are interpolated. That is exact for maps in
degrees, and keeps to one part in 100,000 on a Sentinel-2 tile, as a test shows."""


def cell_areas(
    crs: Any, transform: Affine, *, first: int, count: int, width: int
) -> NDArray[np.float64]:
    """Square metres of the cells of some rows of a map, (count, width).

    Args:
        crs: of rasterio's.
        transform: from columns and rows of cells to coordinates.
        first, count: of the rows.

    Raises:
        SceneError: nothing says where on Earth they lie.
    """
    nodes = np.unique(np.linspace(0, width - 1, min(width, _NODES)).round()).astype(int)
    corners = np.concatenate((nodes, nodes + 1))
    cols, rows = np.meshgrid(corners, np.arange(first, first + count + 1))
    t = transform
    x, y = _equal_area(crs, t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)
    left, right = slice(0, len(nodes)), slice(len(nodes), None)
    # half the cross product of the diagonals
    one = (_around(x[1:, right] - x[:-1, left]), y[1:, right] - y[:-1, left])
    other = (_around(x[1:, left] - x[:-1, right]), y[1:, left] - y[:-1, right])
    at_nodes = np.abs(one[0] * other[1] - one[1] * other[0]) / 2
    return np.stack([np.interp(np.arange(width), nodes, row) for row in at_nodes])


def _around(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """A difference of x over the 180th meridian is the short way round."""
    return difference - _TURN * np.rint(difference / _TURN)


def _equal_area(
    crs: Any, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if crs is None:
        raise SceneError("the map has no coordinate reference system, so it has no areas")
    try:
        east, north = (
            np.array(axis).reshape(x.shape)
            for axis in reproject(crs, _EQUAL_AREA, x.ravel(), y.ravel())
        )
    except (CPLE_BaseError, CRSError) as error:
        raise SceneError(f"the areas of the map's cells cannot be computed: {error}") from error
    return east, north
