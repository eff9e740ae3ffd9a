"""Bands, radiometry and masks of xarray objects, up to a scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deo
from deo import MODEL_BANDS, RGB_BANDS
from deo.errors import BandError, SceneError
from deo.scene.xarray_assets import is_xarray

xarray = pytest.importorskip("xarray")


@pytest.fixture
def array(scene_file: Callable[..., Path]) -> Any:
    """A scene of ten bands as stored integers, its missing pixels marked by 0."""
    path = scene_file(60, 70, hole=(slice(0, 10), slice(0, 20)))
    with deo.open_scene(path) as scene:
        data = scene.to_xarray()
    return data.fillna(0).astype(np.uint16).assign_attrs(_FillValue=0)


def dataset(array: Any, names: Any = tuple(MODEL_BANDS)) -> Any:
    planes = {name: array.isel(band=i, drop=True) for i, name in enumerate(names)}
    return xarray.Dataset(planes)


def test_open__array_and_dataset_read_as_the_file(
    array: Any, scene_file: Callable[..., Path]
) -> None:
    path = scene_file(60, 70, hole=(slice(0, 10), slice(0, 20)))
    with deo.open_scene(path) as file:
        expected = file.read(file.whole)
        for data in (array, dataset(array), array.chunk({"band": 1, "y": 25, "x": 33})):
            with deo.open_scene(data) as scene:
                assert scene.bands == MODEL_BANDS
                assert (scene.crs, scene.transform) == (file.crs, file.transform)
                read = scene.read(scene.whole)
            assert np.array_equal(read.values, expected.values)
            assert np.array_equal(read.valid, expected.valid)
            assert scene.mask_source == "nodata 0"


def test_to_xarray__marks_missing_pixels(scene_file: Callable[..., Path]) -> None:
    with deo.open_scene(scene_file(60, 70, hole=(slice(0, 10), slice(0, 20)))) as scene:
        data = scene.to_xarray()
    assert data.dims == ("band", "y", "x")
    assert int(data.isnull().sum()) == 10 * 10 * 20
    assert list(data.band.values) == list(MODEL_BANDS)
    assert data.dtype == np.float32


def test_names__come_from_variables_coordinates_and_attributes(array: Any) -> None:
    spelt = [
        "red",
        "green",
        "blue",
        "rededge1",
        "rededge2",
        "rededge3",
        "nir",
        "nir08",
        "b11",
        "b12",
    ]
    for data in (
        dataset(array, spelt),
        array.assign_coords(band=spelt),
        array.assign_coords(band=np.arange(1, 11)).assign_attrs(long_name=tuple(MODEL_BANDS)),
        array.assign_coords(band=[f"a{i}" for i in range(10)]).assign_coords(
            common_name=("band", spelt)
        ),
    ):
        with deo.open_scene(data) as scene:
            assert scene.bands == MODEL_BANDS


def test_names__of_a_single_band(array: Any) -> None:
    one = array.isel(band=slice(1)).squeeze("band")
    for data in (one, one.drop_vars("band").rename("B04")):
        assert deo.open_scene(data).bands == deo.BandSet(["B04"])


def test_names__that_are_unknown_have_to_be_given(array: Any) -> None:
    data = array.isel(band=slice(3)).assign_coords(band=["a", "b", "c"])
    with pytest.raises(BandError, match=r"does not name its 3 bands .*labels: a, b, c.*bands=\("):
        deo.open_scene(data)
    assert deo.open_scene(data, bands=RGB_BANDS).bands == RGB_BANDS
    with pytest.raises(BandError, match=r"has 3 bands without names and bands= gives 10"):
        deo.open_scene(data, bands=MODEL_BANDS)


def test_names__of_another_sensor_are_not_believed(array: Any) -> None:
    data = array.assign_attrs(platform="landsat-8")
    with pytest.raises(BandError, match=r"not believed, since tag platform \(landsat-8\)"):
        deo.open_scene(data)


def test_other_variables__are_left_aside(array: Any) -> None:
    data = dataset(array).assign(SCL=array.isel(band=0, drop=True).astype(np.uint8), area=7)
    with deo.open_scene(data) as scene:
        assert scene.bands == MODEL_BANDS
        assert scene.ignored == ("SCL",)


def test_radiometry__is_told_by_attributes(array: Any) -> None:
    packed = array.assign_attrs(scale_factor=0.0001, add_offset=-0.1)
    with deo.open_scene(packed) as scene:
        assert set(scene.radiometry.offset) == {-1000.0}
        assert set(scene.radiometry.scale) == {1.0}
    with deo.open_scene(array.assign_coords({"s2:processing_baseline": "05.09"})) as scene:
        assert set(scene.radiometry.offset) == {-1000.0}
    with deo.open_scene(array.where(array > 0) / 10_000) as scene:
        assert set(scene.radiometry.scale) == {10_000.0}
        assert not scene.read(scene.whole).valid[:10, :20].any()


def test_radiometry__of_a_dataset_is_told_for_each_variable(array: Any) -> None:
    data = dataset(array)
    data["B04"] = data["B04"].assign_attrs(scale_factor=0.0002)
    with deo.open_scene(data) as scene:
        assert scene.radiometry.scale[:2] == (2.0, 1.0)


def test_dates__are_opened_one_at_a_time(array: Any) -> None:
    times = np.array(["2020-01-02", "2020-02-02"], "datetime64[ns]")
    data = xarray.concat([array, array], xarray.IndexVariable("time", times))
    with pytest.raises(SceneError, match=r"holds 2 dates .*isel\(time=0\)"):
        deo.open_scene(data)
    with deo.open_scene(data.isel(time=[1])) as scene:
        assert scene.name.endswith("_20200202T000000")


def test_dimensions__beyond_bands_are_refused(array: Any) -> None:
    with pytest.raises(SceneError, match=r"wanted are band, y, x and no others"):
        deo.open_scene(array.expand_dims(height=[1, 2]))


def test_is_xarray__takes_nothing_else() -> None:
    assert not is_xarray(np.zeros(3))
    assert is_xarray(xarray.Dataset())
