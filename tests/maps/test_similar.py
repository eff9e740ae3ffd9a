from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS

from deo.errors import OutputError, SceneError
from deo.maps.cog import write_cog
from deo.maps.metadata import MapInfo
from deo.maps.similar import map_similarity
from deo.scene.earth import Place

Make = Callable[..., Any]


def features(height: int = 40, width: int = 50, channels: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(channels, channels)) * np.logspace(1, -1, channels)
    cells = rng.normal(size=(height * width, channels)) @ mixing.T + rng.normal(size=channels)
    data = cells.reshape(height, width, channels).transpose(0, 2, 1).astype(np.float32)
    data[:10, :, :15] = np.nan
    return data


@pytest.fixture
def feature_map(hold: Make, tmp_path: Path) -> Callable[[str], Path]:
    def make(dtype: str = "float32") -> Path:
        info = MapInfo(
            layer=3, stride=32, crs=CRS.from_epsg(32633), source="scene.tif", dtype=dtype,
            transform=Affine(320, 0, 500_000, 0, -320, 5_000_000),
            tags={"DEO_MODEL": "toy", "DEO_LAYER": "3", "DEO_STRIDE": "32"},
            names=tuple("abcdefgh"),
        )  # fmt: skip
        path = tmp_path / f"features_{dtype}.tif"
        write_cog(hold(features()), info, path, tmp_path / "scratch.tif")
        return path

    return make


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("int8", 0.05)])
def test_map_similarity__is_the_cosine(
    feature_map: Callable[[str], Path], tmp_path: Path, dtype: str, tolerance: float
) -> None:
    from rasterio.warp import transform as reproject

    row, col = 20, 30
    (longitude,), (latitude,) = reproject(
        "EPSG:32633", "EPSG:4326", [500_000 + 30.5 * 320], [5_000_000 - 20.5 * 320]
    )
    out = tmp_path / "map.tif"
    map_similarity(
        feature_map(dtype), Place(longitude, latitude), out, preview=tmp_path / "map.png"
    )
    data = features().transpose(0, 2, 1).astype(np.float64)
    norms = np.linalg.norm(data, axis=2)
    wanted = data @ data[row, col] / norms / norms[row, col]
    with rasterio.open(out) as file:
        cosine = file.read(1)
        assert file.count == 1
        assert file.tags()["DEO_MODEL"] == "toy"
        assert file.tags()["DEO_SIMILAR_TO"] == f"{longitude!r},{latitude!r}"
    np.testing.assert_array_equal(np.isnan(cosine), np.isnan(wanted))
    assert np.nanmax(np.abs(cosine - wanted)) < tolerance
    assert cosine[row, col] == pytest.approx(1, abs=1e-6)
    with Image.open(tmp_path / "map.png") as picture:
        assert np.asarray(picture)[..., 3].min() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"features_{dtype}.tif", "map.png", "map.tif"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "said"),
    [(Place(0, 0), "outside .*longitude"), (Place(15.0005, 45.153), "nodata; choose another")],
)
def test_map_similarity__refuses_places_without_features(
    feature_map: Callable[..., Path], tmp_path: Path, place: Place, said: str
) -> None:
    with pytest.raises(SceneError, match=said):
        map_similarity(feature_map(), place, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize("longitude", [-179.9995, 180.0005])
def test_map_similarity__over_180_degrees(hold: Make, tmp_path: Path, longitude: float) -> None:
    from rasterio.warp import transform as reproject

    (x,), (y,) = reproject("EPSG:4326", "EPSG:32760", [-179.9995], [-17.0])
    info = MapInfo(
        layer=0, stride=4, crs=CRS.from_epsg(32760), source="scene.tif", dtype="float32",
        transform=Affine(40, 0, x - 30.5 * 40, 0, -40, y + 20.5 * 40),
        tags={"DEO_MODEL": "toy", "DEO_LAYER": "0", "DEO_STRIDE": "4"}, names=tuple("abcdefgh"),
    )  # fmt: skip
    write_cog(hold(features()), info, tmp_path / "f.tif", tmp_path / "scratch.tif")
    map_similarity(tmp_path / "f.tif", Place(longitude, -17.0), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.read(1)[20, 30] == pytest.approx(1, abs=1e-6)
        assert file.tags()["DEO_SIMILAR_TO"].startswith("-179.9995")
    with pytest.raises(SceneError, match=r"from 179\.\d+,-17\.\d+ over the 180th meridian to -179"):
        map_similarity(tmp_path / "f.tif", Place(0, -17.0), tmp_path / "other.tif")


def test_map_similarity__refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match="cannot be read as a map"):
        map_similarity(tmp_path / "text.tif", Place(0, 0), tmp_path / "map.tif")
    with pytest.raises(OutputError, match=r"\*\.tif"):
        map_similarity(tmp_path / "text.tif", Place(0, 0), tmp_path / "map.png")


def test_map_similarity__refuses_its_own_input_and_raw_scenes(
    feature_map: Callable[..., Path], tmp_path: Path
) -> None:
    features = feature_map()
    before = features.read_bytes()
    with pytest.raises(OutputError, match="is what is being read"):
        map_similarity(features, Place(15.01, 45.15), features)
    assert features.read_bytes() == before
    with rasterio.open(features, "r+") as file:
        file.update_tags(DEO_LAYER="finest")
    with pytest.raises(SceneError, match="no map of features"):
        map_similarity(features, Place(15.01, 45.15), tmp_path / "map.tif")


@pytest.mark.parametrize("kind", ["new", "scratch"])
def test_map_similarity__has_no_name_to_be_guessed(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    kind: str,
) -> None:
    features, victim = tmp_path / "map.tif", tmp_path / "victim"
    write(held_rows(), info(tags={**info().tags, "DEO_STRIDE": "4"}), features)
    victim.write_text("precious")
    (tmp_path / f".out.tif.{kind}").symlink_to(victim)
    map_similarity(features, Place(15.01, 45.148), tmp_path / "out.tif")
    assert victim.read_text() == "precious"
    assert not list(tmp_path.glob(".writing-*"))
