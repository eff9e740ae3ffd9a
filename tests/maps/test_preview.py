import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS

from deo.errors import OutputError, SceneError
from deo.maps.cog import write_cog
from deo.maps.components import fit_components, project
from deo.maps.metadata import MapInfo
from deo.maps.picture import Panel, compose, ramp, stretch
from deo.maps.preview import check_picture, metres_across
from deo.maps.rows import Shape
from deo.maps.similar import Plane, map_similarity
from deo.scene.earth import Place
from deo.scene.grid import Turn


@dataclass(frozen=True, kw_only=True)
class HeldRows:
    data: NDArray[np.float32]  # (height, channels, width)

    @property
    def shape(self) -> Shape:
        height, channels, width = self.data.shape
        return Shape(channels, height, width)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> Any:
        return self.data[start:stop, channels].copy()

    def valid(self, start: int, stop: int) -> Any:
        return np.isfinite(self.data[start:stop, 0]).astype(np.float32)

    def blocks(self, budget: int = 0) -> Any:
        for start in range(0, len(self.data), 7):
            yield start, self.values(start, start + 7)


def features(height: int = 40, width: int = 50, channels: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(channels, channels)) * np.logspace(1, -1, channels)
    cells = rng.normal(size=(height * width, channels)) @ mixing.T + rng.normal(size=channels)
    data = cells.reshape(height, width, channels).transpose(0, 2, 1).astype(np.float32)
    data[:10, :, :15] = np.nan
    return data


def test_fit_components__equals_sklearn() -> None:
    from sklearn.decomposition import PCA

    rows = HeldRows(data=features())
    cells = rows.data.transpose(0, 2, 1).reshape(-1, 8)
    cells = cells[np.isfinite(cells[:, 0])]
    oracle = PCA(3, svd_solver="full").fit(cells)
    found = fit_components(rows)
    np.testing.assert_allclose(found.mean, oracle.mean_, rtol=1e-5)
    np.testing.assert_allclose(found.share, oracle.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(
        np.abs((found.axes * oracle.components_.T).sum(axis=0)), 1, atol=1e-5
    )
    assert (found.axes.max(axis=0) == np.abs(found.axes).max(axis=0)).all()
    projected = project(rows, found)
    assert projected.shape == (40, 50, 3)
    known = np.isfinite(projected[..., 0])
    np.testing.assert_array_equal(known, np.isfinite(rows.data[:, 0]))
    wanted = np.abs(oracle.transform(cells))
    np.testing.assert_allclose(np.abs(projected[known]), wanted, atol=1e-3)
    np.testing.assert_array_equal(project(rows, found, step=3), projected[::3, ::3])


@pytest.mark.parametrize("channels", [1, 2])
def test_fit_components__fewer_channels_than_colours(channels: int) -> None:
    components = fit_components(HeldRows(data=features(channels=8)[:, :channels]))
    assert components.axes.shape == (channels, 3)
    assert (components.share[channels:] == 0).all()


def test_fit_components__nothing_valid_or_no_variance() -> None:
    for fill in (np.nan, 3.0):
        components = fit_components(HeldRows(data=np.full((4, 5, 6), fill, np.float32)))
        assert (components.share == 0).all()
        assert np.isfinite(components.axes).all()


def test_stretch__fills_the_range_and_leaves_nodata_transparent() -> None:
    values = np.random.default_rng(0).uniform(-5, 70, (30, 30, 3)).astype(np.float32)
    valid = np.ones((30, 30), np.bool_)
    valid[:5] = False
    values[:5] = np.nan
    image = stretch(values, valid)
    assert (image[:5] == 0).all()
    assert (image[5:, :, 3] == 255).all()
    assert image[5:, :, :3].min() == 0
    assert image[5:, :, :3].max() == 255


def test_ramp__ends_and_nodata() -> None:
    image = ramp(np.array([[0.0, 1.0, np.nan, 2.0]], np.float32), 0, 1)
    assert tuple(image[0, 0]) == (68, 1, 84, 255)
    assert tuple(image[0, 1]) == tuple(image[0, 3]) == (253, 231, 37, 255)
    assert image[0, 2, 3] == 0


def test_compose__panels_words_and_a_bar_of_a_round_length() -> None:
    image = np.full((20, 10, 4), 255, np.uint8)
    image[:10] = 0
    panel = Panel(image=image, title="Title", notes=("note",), key=(((255, 0, 0), "PC 1"),))
    page = np.asarray(compose([panel, panel], metres_across=1000.0))
    transparent = page[..., 3] == 0
    assert transparent.sum() == 2 * 400 * 400
    words = page[: np.flatnonzero(transparent.any(axis=1))[0], :, :3]
    assert (words < 100).any(), "the title is drawn"
    plain = np.asarray(compose([panel, panel], metres_across=None))
    assert (page != plain).any(), "the bar is drawn"


def test_compose__cells_past_the_edge_are_cut() -> None:
    """Two and a half cells fill the panel: the third colour takes a fifth of it, not a third."""
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, :3] = np.eye(3, dtype=np.uint8) * 255
    image[..., 3] = 255
    page = np.asarray(compose([Panel(image=image, title="", cells=(2.5, 1.0))], metres_across=None))
    blue = (page[..., 2] > 200) & (page[..., 0] < 60) & (page[..., 1] < 60)
    columns = np.flatnonzero(blue.any(axis=0))
    assert 40 < len(columns) < 200


@pytest.mark.parametrize(
    ("epsg", "transform", "wanted"),
    [
        (32633, Affine(10, 0, 0, 0, -10, 0), 1000),
        (4326, Affine(1e-4, 0, 10, 0, -1e-4, 60.005), 0.01 * 111_320 * 0.5),
        (2263, Affine(10, 0, 0, 0, -10, 0), 1000 * 0.3048006),
        (32633, Affine(6, -8, 0, 8, 6, 0), 1000),
        (
            4807,
            Affine(1e-4, 0, 10, 0, -1e-4, 100 / 3),
            0.01 * 0.9 * 111_320 * math.cos(math.pi / 6),
        ),
    ],
)
def test_metres_across__by_the_reference_system(
    epsg: int, transform: Affine, wanted: float
) -> None:
    found = metres_across(CRS.from_epsg(epsg), transform, height=100, width=100)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert metres_across(None, transform, height=100, width=100) is None


@pytest.mark.parametrize("crs", ["IAU_2015:30100", 'LOCAL_CS["mine",UNIT["metre",1]]'])
def test_metres_across__of_other_bodies_and_local_systems(crs: str) -> None:
    """Degrees of the Moon are no degrees of the Earth; metres are metres."""
    found = metres_across(CRS.from_user_input(crs), Affine(1, 0, 0, 0, -1, 0), height=10, width=10)
    assert found == (None if "IAU" in crs else 10)


def test_metres_across__of_a_raster_on_its_side() -> None:
    transform = Affine(0, 20, 0, 10, 0, 0)
    utm = CRS.from_epsg(32633)
    assert metres_across(utm, transform, height=3, width=7, turn=Turn(swap=True)) == 60
    degrees = CRS.from_epsg(4326)
    found = metres_across(
        degrees, Affine(0, 1e-4, 10, 1e-4, 0, 59.995), height=50, width=100, turn=Turn(swap=True)
    )
    assert found == pytest.approx(0.005 * 111_320 * 0.5, rel=1e-3)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("cols", [False, True])
def test_compose__a_turned_raster_looks_like_an_upright_one(
    swap: bool, rows: bool, cols: bool
) -> None:
    """And the mark stays on its ground."""
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (4, 5, 4), dtype=np.uint8)
    image[..., 3] = 255
    mask = rng.random((40, 50)) > 0.2
    wanted = np.asarray(
        compose([Panel(image=image, title="", mask=mask, mark=(0.25, 0.5))], metres_across=50.0)
    )
    turn = Turn(swap, rows, cols)

    def stored(picture: NDArray[Any]) -> NDArray[Any]:
        picture = picture[:: -1 if rows else 1, :: -1 if cols else 1]
        return np.ascontiguousarray(picture.swapaxes(0, 1) if swap else picture)

    x, y = (0.75 if cols else 0.25), 0.5
    panel = Panel(image=stored(image), title="", mask=stored(mask), mark=(y, x) if swap else (x, y))
    found = np.asarray(compose([panel], metres_across=50.0, turn=turn))
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted)
    assert difference.max() <= (25 if swap else 1)  # Pillow resizes along rows first, and clips
    assert difference.mean() < 1


def test_check_picture__refuses_other_names(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\*\.png"):
        check_picture(tmp_path / "picture.jpg")
    with pytest.raises(OutputError, match="no folder"):
        check_picture(tmp_path / "missing" / "picture.png")


def test_check_picture__refuses_a_folder_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "pictures.png").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_picture(tmp_path / "pictures.png")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures.png"]


@pytest.fixture
def feature_map(tmp_path: Path) -> Callable[[str], Path]:
    def make(dtype: str = "float32") -> Path:
        info = MapInfo(
            layer=3, stride=32, crs=CRS.from_epsg(32633), source="scene.tif", dtype=dtype,
            transform=Affine(320, 0, 500_000, 0, -320, 5_000_000),
            tags={"DEO_MODEL": "toy", "DEO_LAYER": "3", "DEO_STRIDE": "32"},
            names=tuple("abcdefgh"),
        )  # fmt: skip
        path = tmp_path / f"features_{dtype}.tif"
        write_cog(HeldRows(data=features()), info, path, tmp_path / "scratch.tif")
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
        found = file.read(1)
        assert file.count == 1
        assert file.tags()["DEO_MODEL"] == "toy"
        assert file.tags()["DEO_SIMILAR_TO"] == f"{longitude!r},{latitude!r}"
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) < tolerance
    assert found[row, col] == pytest.approx(1, abs=1e-6)
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
def test_map_similarity__over_180_degrees(tmp_path: Path, longitude: float) -> None:
    from rasterio.warp import transform as reproject

    (x,), (y,) = reproject("EPSG:4326", "EPSG:32760", [-179.9995], [-17.0])
    info = MapInfo(
        layer=0, stride=4, crs=CRS.from_epsg(32760), source="scene.tif", dtype="float32",
        transform=Affine(40, 0, x - 30.5 * 40, 0, -40, y + 20.5 * 40),
        tags={"DEO_MODEL": "toy", "DEO_LAYER": "0", "DEO_STRIDE": "4"}, names=tuple("abcdefgh"),
    )  # fmt: skip
    write_cog(HeldRows(data=features()), info, tmp_path / "f.tif", tmp_path / "scratch.tif")
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


def test_plane__is_a_map_of_one_channel() -> None:
    plane = Plane(data=np.arange(6, dtype=np.float32).reshape(2, 3))
    assert plane.shape == (1, 2, 3)
    np.testing.assert_array_equal(plane.values(1, 2), [[[3, 4, 5]]])
