from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.errors import DataError, SceneError
from deo.maps.memory import MapArray
from deo.maps.stack import open_stack, paths_of, refuse_other_features
from deo.scene.window import Window

Make = Callable[..., Any]


@pytest.mark.parametrize("name", ["one.tif", "one.zarr"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_read__gives_a_window_as_it_is_stored(feature_file: Make, name: str, dtype: str) -> None:
    path = feature_file(name, dtype=dtype)
    with open_stack(path) as stack:
        whole = stack.read(Window(row=0, col=0, height=20, width=30))
        part = stack.read(Window(row=1, col=7, height=5, width=11))
    np.testing.assert_array_equal(part, whole[:, 1:6, 7:18])
    assert np.isnan(whole[:, :2]).all()
    assert np.isfinite(whole[:, 2:]).all()
    assert whole[0, 2:, 15:].mean() - whole[0, 2:, :15].mean() == pytest.approx(6, abs=0.4)


def test_read__lays_coarser_maps_on_the_finest_grid(feature_file: Make) -> None:
    fine = feature_file("fine.tif", height=9, width=13)
    coarse = feature_file("coarse.tif", height=5, width=7, channels=2, factor=2, layer="1")
    with open_stack([coarse, fine]) as stack, rasterio.open(coarse) as file:
        assert stack.shape == (8, 9, 13)
        assert stack.channels == (2, 6)
        assert stack.info.source == "scene_20200102.tif" or stack.info.transform.a == 40
        values = stack.read(Window(row=3, col=5, height=6, width=8))
        wanted = file.read().repeat(2, axis=1).repeat(2, axis=2)[:, 3:9, 5:13]
    np.testing.assert_array_equal(values[:2], wanted)


def test_open_stack__takes_a_map_in_memory(feature_file: Make) -> None:
    path = feature_file()
    with rasterio.open(path) as file:
        held = MapArray(
            array=file.read(), valid=np.ones((20, 30), np.float32), transform=file.transform,
            crs=file.crs, names=("a",) * 6, tags=file.tags(),
        )  # fmt: skip
    with open_stack(held) as one, open_stack(path) as other:
        assert one.identity == other.identity
        np.testing.assert_array_equal(one.read(one.windows()[0]), other.read(other.windows()[0]))
    assert paths_of([held, path]) == [path]


def test_windows__cover_the_map_once(feature_file: Make) -> None:
    with open_stack(feature_file("wide.tif", height=6, width=1100, channels=2)) as stack:
        count = np.zeros(stack.shape[1:], int)
        for window in stack.windows():
            count[window.slices] += 1
    assert (count == 1).all()


def test_open_stack__refuses_other_grids_and_files(feature_file: Make, tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="do not lie on one grid"),
        open_stack([feature_file("a.tif"), feature_file("b.tif", width=31)]),
    ):
        pass
    (tmp_path / "text.tif").write_text("none")
    with pytest.raises(SceneError, match="no map of features"), open_stack(tmp_path / "text.tif"):
        pass
    with pytest.raises(DataError, match="name at least one"), open_stack([]):
        pass


def test_refuse_other_features__says_in_what_they_differ(feature_file: Make) -> None:
    with open_stack(feature_file("a.tif")) as one, open_stack(feature_file("b.tif")) as same:
        refuse_other_features(one.identity, same, owner="it")
    with (
        open_stack(feature_file("c.tif", layer="2", contract='{"name": "scene"}')) as other,
        pytest.raises(DataError, match=r"DEO_LAYER: '0' -> '2'.*CONTRACT.name: 'fixed' -> 'scene'"),
    ):
        refuse_other_features(one.identity, other, owner="it")
    with (
        open_stack([feature_file("d.tif"), feature_file("e.tif")]) as two,
        pytest.raises(DataError, match="made for 1 map of features, got 2"),
    ):
        refuse_other_features(one.identity, two, owner="it")


def test_refuse_other_features__knows_components_of_one_map(feature_file: Make) -> None:
    said = {"components": "6 of 9, fitted on this map"}
    with open_stack(feature_file("a.tif", source="x.tif", **said)) as one:
        wanted = one.identity
    with (
        open_stack(feature_file("b.tif", source="y.tif", **said)) as other,
        pytest.raises(DataError, match=r"DEO_SOURCE: 'x.tif' -> 'y.tif'"),
    ):
        refuse_other_features(wanted, other, owner="it")
