from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import deo
from deo import MODEL_BANDS
from deo.errors import ConfigError, OutputError, SceneError
from deo.maps.class_map import NODATA
from deo.maps.memory import MapArray

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    values = np.random.default_rng(3).integers(100, 4000, (10, 100, 130)).astype(np.uint16)
    values[:, :20, :40] = 0
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=10, height=100, width=130, dtype="uint16", nodata=0,
        crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(values)
        file.descriptions = tuple(MODEL_BANDS)
    return path


def test_extract__in_memory_is_what_the_file_holds(scene: Path, tmp_path: Path) -> None:
    features = deo.extract(scene, **MICRO, layer=0)
    assert isinstance(features, MapArray)
    deo.extract(scene, tmp_path / "out.tif", **MICRO, layer=0)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert np.array_equal(features.array, file.read(), equal_nan=True)
        assert (features.crs, features.transform) == (file.crs, file.transform)
        assert features.tags.items() <= file.tags().items()
    assert features.valid.shape == features.array.shape[1:]
    assert np.array_equal(features.valid > 0, np.isfinite(features.array[0]))
    assert len(features.names) == len(features.array)
    assert not list(tmp_path.glob("memory*"))


def test_extract__in_memory_all_layers(scene: Path) -> None:
    maps = deo.extract(scene, **MICRO, layer="all")
    assert isinstance(maps, list)
    assert [features.tags["DEO_LAYER"] for features in maps] == ["0", "1", "2", "3"]
    assert [features.array.shape[0] for features in maps] == [16, 32, 64, 128]
    last = deo.extract(scene, **MICRO, layer="last")
    assert isinstance(last, MapArray)
    np.testing.assert_array_equal(last.array, maps[3].array)


def test_extract__tells_progress_and_refuses_what_needs_an_output(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deo.extract(scene, **MICRO, progress=True)
    assert "scene.tif: 100%" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="written beside an output"):
        deo.extract(scene, **MICRO, stac=True)  # type: ignore[call-overload]


def test_classes__are_the_largest_channels() -> None:
    array = np.array([[[0.2, 0.9, np.nan]], [[0.8, 0.1, np.nan]]], np.float32)
    shares = MapArray(
        array=array,
        valid=np.array([[1, 1, 0]], np.float32),
        transform=from_origin(0, 0, 1, 1),
        crs=None,
        names=("land", "water"),
        tags={},
    )
    assert shares.classes().tolist() == [[1, 0, NODATA]]


def test_similar__of_a_map_in_memory_is_that_of_its_file(scene: Path, tmp_path: Path) -> None:
    place = (15.006, 45.1495)
    features = deo.extract(scene, **MICRO, layer=0)
    assert isinstance(features, MapArray)
    deo.extract(scene, tmp_path / "features.tif", **MICRO, layer=0)
    of_file = deo.similar(tmp_path / "features.tif", place, tmp_path / "map.tif")
    of_array = deo.similar(features, place, preview=tmp_path / "map.png")
    np.testing.assert_allclose(of_array.array, of_file.array, atol=1e-6)
    assert np.nanmax(of_array.array) == pytest.approx(1, abs=1e-5)
    assert (of_array.names, of_array.transform) == (("cosine similarity",), features.transform)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert np.array_equal(file.read(), of_file.array, equal_nan=True)
    assert (tmp_path / "map.png").exists()
    with pytest.raises(OutputError, match=r"overwrite=True"):
        deo.similar(features, place, tmp_path / "map.tif")
    with pytest.raises(SceneError, match="nodata; choose another place"):
        deo.similar(features, (15.0005, 45.1532))


def test_repr_html__shows_the_components_beside_what_the_tags_say() -> None:
    array = np.random.default_rng(0).normal(size=(5, 300, 20)).astype(np.float32)
    array[:, 0] = np.nan
    features = MapArray(
        array=array,
        valid=np.isfinite(array[0]).astype(np.float32),
        transform=from_origin(0, 0, 1, 1),
        crs=None,
        names=tuple("abcde"),
        tags={"DEO_MODEL": "<toy>", "DEO_SOURCE": "scene.tif"},
    )
    shown = features._repr_html_()
    assert "data:image/png;base64," in shown
    assert "&lt;toy&gt;" in shown
    assert "300 × 20" in shown
    assert len(shown) < 100_000
