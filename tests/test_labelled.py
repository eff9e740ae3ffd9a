"""`deo.features`: xarray in, xarray out."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deo
from deo import MODEL_BANDS, labelled
from deo.errors import ConfigError
from deo.maps import lazy
from deo.scene.window import Window

xarray = pytest.importorskip("xarray")
pytest.importorskip("dask")

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32}


@pytest.fixture
def path(scene_file: Callable[..., Path]) -> Path:
    return scene_file(110, 142, hole=(slice(0, 70), slice(0, 70)))


@pytest.fixture
def data(path: Path) -> Any:
    with deo.open_scene(path) as scene:
        array = scene.to_xarray()
    return array.fillna(0).astype(np.uint16).assign_attrs(_FillValue=0).rename(None)


def dataset(data: Any) -> Any:
    return xarray.Dataset({band: data.sel(band=band, drop=True) for band in MODEL_BANDS})


@pytest.mark.parametrize(
    ("contract", "chunkings"),
    [
        (
            "fixed",
            [{"band": 1, "y": 30, "x": 45}, {"y": 110, "x": 20}, {"band": 5, "y": 64, "x": 64}],
        ),
        ("scene", [{"band": 10, "y": 50, "x": 70}]),
    ],
)
def test_features__equal_those_of_the_file_for_any_chunks(
    path: Path, data: Any, contract: str, chunkings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "_TILES", 2)
    expected = deo.extract(path, contract=contract, **MICRO)
    held = deo.features(data, contract=contract, **MICRO)
    assert np.array_equal(held.values, expected.array, equal_nan=True)
    for chunks in chunkings:
        computed = deo.features(data.chunk(chunks), contract=contract, **MICRO)
        assert computed.chunks is not None
        values = computed.compute(scheduler="sync").values
        assert np.array_equal(np.isnan(values), np.isnan(expected.array))
        assert np.nanmax(np.abs(values - expected.array)) < 1e-5


def test_features__of_a_dataset_have_coordinates_and_a_record(data: Any) -> None:
    made = deo.features(dataset(data).chunk({"x": 64}), contract="fixed", layer=0, **MICRO)
    assert made.dims == ("feature", "y", "x")
    assert made.attrs["DEO_LAYER"] == "0"
    assert made.attrs["DEO_BANDS"] == str(MODEL_BANDS)
    stride = int(made.attrs["DEO_STRIDE"])
    assert made.x.values[0] == 500_000 + 10 * stride / 2
    assert made.y.values[0] == 5_000_000 - 10 * stride / 2
    assert "32633" in made.spatial_ref.attrs["crs_wkt"]


def test_features__of_dates_come_one_by_one_under_one_contract(data: Any) -> None:
    times = np.array(["2020-01-02", "2020-06-02"], "datetime64[ns]")
    bright = (data.astype(np.float32) * 2).astype(np.uint16).assign_attrs(data.attrs)
    dates = xarray.concat([data, bright], xarray.IndexVariable("time", times))
    made = deo.features(dates, contract="fixed", **MICRO)
    assert made.dims == ("time", "feature", "y", "x")
    assert np.array_equal(made.time.values, times)
    for index, date in enumerate((data, bright)):
        expected = deo.features(date, contract="fixed", **MICRO)
        assert np.array_equal(made.values[index], expected.values, equal_nan=True)
    shared = deo.features(dates.chunk({"time": 1}), contract="scene", **MICRO)
    assert "rgb_maximum" in shared.attrs["DEO_CONTRACT"]  # the same of both, or it would be dropped
    assert "DEO_SOURCE" not in shared.attrs


def test_features__in_a_process_that_has_only_the_graph(data: Any) -> None:
    made = deo.features(data.chunk({"x": 90}), **MICRO)
    graph = dict(made.__dask_graph__())
    (node,) = [value for key, value in graph.items() if str(key).startswith("deo-recipe")]
    labelled._shared.cache_clear()  # as in a process of its own, the model is loaded anew
    recipe = pickle.loads(pickle.dumps(getattr(node, "value", node)))
    whole = Window(row=0, col=0, height=110, width=142)
    values = recipe.compute([*data.sel(band=list(MODEL_BANDS)).values], whole, whole)
    assert np.nanmax(np.abs(values - made.compute(scheduler="sync").values)) < 1e-5


def test_features__on_a_cluster(data: Any) -> None:
    distributed = pytest.importorskip("distributed")
    made = deo.features(data.chunk({"x": 90}), contract="fixed", **MICRO)
    expected = made.compute(scheduler="sync")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert np.nanmax(np.abs(made.compute() - expected)) < 1e-5


def test_extract__takes_an_xarray_object(data: Any, path: Path, tmp_path: Path) -> None:
    expected = deo.extract(path, contract="fixed", **MICRO)
    for given in (data, data.chunk({"y": 50})):
        made = deo.extract(given, contract="fixed", **MICRO)
        assert np.array_equal(made.array, expected.array, equal_nan=True)
    (written,) = deo.extract(data, tmp_path / "f.tif", contract="fixed", **MICRO)
    assert written.exists()
    labelled = expected.to_xarray()
    assert labelled.dims == ("feature", "y", "x")
    assert labelled.attrs["DEO_LAYER"] == expected.tags["DEO_LAYER"]


def test_features__of_anything_else_are_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"takes an xarray Dataset or DataArray, got ndarray"):
        deo.features(data.values, **MICRO)
    with pytest.raises(ConfigError, match="gives one layer, got layer='all'"):
        deo.features(data, layer="all", **MICRO)
    with pytest.raises(ConfigError, match="components are fitted to the whole map"):
        deo.features(data, components=2, **MICRO)
    with pytest.raises(ConfigError, match="a dimension time without a date"):
        deo.features(data.expand_dims("time").isel(time=[]), **MICRO)
