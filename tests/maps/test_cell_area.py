from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import SceneError
from deo.maps.cell_area import cell_areas

pyproj = pytest.importorskip("pyproj")


def geodesic(crs: Any, transform: Affine, row: int, col: int) -> float:
    """By PROJ, along the shortest lines between points on the sides."""
    share = np.linspace(0, 1, 9)[:-1]
    still = np.zeros(8)
    cols = col + np.concatenate((share, still + 1, 1 - share, still))
    rows = row + np.concatenate((still, share, still + 1, 1 - share))
    x, y = transform.a * cols + transform.c, transform.e * rows + transform.f
    back = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(crs.to_wkt()), 4326, always_xy=True)
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*back.transform(x, y))[0])


@pytest.mark.parametrize(
    ("code", "transform", "width"),
    [
        (32633, Affine(40, 0, 300_000, 0, -40, 5_000_000), 2745),
        (4326, Affine(0.01, 0, 179.5, 0, -0.01, 60.0), 200),  # over the 180th meridian
        (3035, Affine(100, 0, 4_000_000, 0, -100, 3_000_000), 50),
        (3857, Affine(10, 0, 1_000_000, 0, -10, 9_000_000), 3),
    ],
)
def test_cell_areas__are_those_on_the_ellipsoid(code: int, transform: Affine, width: int) -> None:
    crs = CRS.from_epsg(code)
    areas = cell_areas(crs, transform, first=7, count=3, width=width)
    assert areas.shape == (3, width)
    for col in {0, width // 3, width - 1}:
        assert areas[2, col] == pytest.approx(geodesic(crs, transform, 9, col), rel=1e-5)


def test_cell_areas__need_a_place() -> None:
    with pytest.raises(SceneError, match="no coordinate reference system"):
        cell_areas(None, Affine.identity(), first=0, count=1, width=2)
