"""Grids read from xarray's labels, and labels written from grids."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import SceneError
from deo.scene.xarray_grid import axes_of, check_order, data_array, grid_of

xarray = pytest.importorskip("xarray")

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
Make = Callable[..., Any]


def make(transform: Affine = UTM, *, crs: str | None = "EPSG:32633", side: int = 6) -> Any:
    return data_array(
        np.zeros((1, side, side + 2), np.uint16),
        ["B04"],
        dimension="band",
        crs=None if crs is None else CRS.from_user_input(crs),
        transform=transform,
        attributes={},
    )


def read(data: Any, **settings: Any) -> Any:
    return grid_of(data, axes_of(data), name="it", **settings)


@pytest.mark.parametrize("transform", [UTM, Affine(10, 0, 0, 0, 10, 0), Affine(3, 4, 7, 4, -3, 9)])
def test_labels__are_read_back(transform: Affine) -> None:
    grid = read(make(transform))
    assert (grid.height, grid.width) == (6, 8)
    assert grid.crs == CRS.from_epsg(32633)
    assert grid.transform.almost_equals(transform, precision=1e-9)


def test_labels__agree_with_rioxarray_and_odc_geo() -> None:
    pytest.importorskip("rioxarray")
    odc = pytest.importorskip("odc.geo.xr")
    assert odc is not None
    data = make()
    assert data.rio.crs == CRS.from_epsg(32633)
    assert data.rio.transform() == UTM
    assert data.odc.geobox.transform == UTM
    assert data.odc.geobox.crs.epsg == 32633


def test_grid__of_what_odc_geo_labels() -> None:
    geobox = pytest.importorskip("odc.geo.geobox")
    xr = pytest.importorskip("odc.geo.xr")
    box = geobox.GeoBox((4, 5), UTM, "EPSG:32633")
    grid = read(xr.xr_zeros(box, dtype="uint16"))
    assert (grid.height, grid.width, grid.transform) == (4, 5, UTM)


def test_grid__follows_slices_and_not_the_transform_of_before() -> None:
    grid = read(make().isel(y=slice(2, 5), x=slice(3, None)))
    assert (grid.transform.c, grid.transform.f) == (500_030, 4_999_980)
    single = read(make().isel(y=[4]))
    assert (single.height, single.transform.f) == (1, 4_999_960)


def test_grid__of_corners_as_stackstac_has_them() -> None:
    data = xarray.DataArray(
        np.zeros((3, 4)),
        {"y": 5_000_000 - 10.0 * np.arange(3), "x": 500_000 + 10.0 * np.arange(4), "epsg": 32633},
        ("y", "x"),
        attrs={"transform": tuple(UTM)[:6]},
    )
    assert read(data).transform == UTM
    assert read(data.isel(x=slice(1, None))).transform.c == 500_010


def test_grid__without_a_reference_system_is_refused_unless_given() -> None:
    data = make(crs=None)
    with pytest.raises(SceneError, match=r"no coordinate reference system; add it with data\.rio"):
        read(data)
    assert read(data, crs="EPSG:32633").crs.to_epsg() == 32633


def test_grid__without_coordinates_is_refused_unless_given() -> None:
    data = xarray.DataArray(np.zeros((3, 4)), dims=("y", "x"), attrs={"crs": "EPSG:32633"})
    with pytest.raises(SceneError, match="no coordinates y and x"):
        read(data)
    assert read(data, transform=UTM).transform == UTM


def test_grid__unevenly_spaced_is_refused() -> None:
    data = make()
    with pytest.raises(SceneError, match="not evenly spaced"):
        read(data.isel(x=[0, 1, 3, 7]))


def test_axes__swapped_are_refused() -> None:
    data = make().transpose("band", "x", "y")
    with pytest.raises(SceneError, match=r"swapped axes.*data\.transpose\('band', 'y', 'x'\)"):
        check_order(data, axes_of(data), what="it")
    with pytest.raises(SceneError, match="swapped axes: in EPSG:32633 its centre"):
        read(make(Affine(10, 0, 5_000_000, 0, -10, 500_000)))


def test_axes__unknown_are_named() -> None:
    with pytest.raises(SceneError, match="dimensions row, col; wanted is one of y, latitude"):
        axes_of(xarray.DataArray(np.zeros((3, 4)), dims=("row", "col")))
