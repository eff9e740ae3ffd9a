"""Statistics come from valid pixels of the image, however few and wherever they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from deo.bands import RGB_BANDS, Pixels
from deo.contracts import Contract, fit_contract
from deo.errors import ConfigError, RadiometryError
from deo.scene.grid import Extent
from deo.scene.opening import open_scene
from deo.scene.sampling import telling_pixels, thin_image
from deo.scene.scene import Scene
from deo.scene.window import Window

SIDE = 1200
CORNER = (slice(700, 720), slice(900, 930))


def write(path: Path, array: np.ndarray, **settings: Any) -> Path:
    count, height, width = array.shape
    profile = {
        "driver": "GTiff", "dtype": array.dtype, "count": count, "height": height, "width": width,
        "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        "tiled": True, "compress": "zstd",
    }  # fmt: skip
    with rasterio.open(path, "w", **(profile | settings)) as file:
        file.write(array)
        file.descriptions = ("B04", "B03", "B02")[:count]
    return path


def scattered(dtype: str, fill: float) -> np.ndarray:
    """Seven pixels of measurements, none of which samples of 256 or 1024 pixels a side meet."""
    array = np.full((3, SIDE, SIDE), fill, dtype)
    for size in (256, 1024):
        met = ((np.arange(size) + 0.5) * SIDE / size).astype(int)
        array[:, met] = fill
    free = sorted(set(range(SIDE)) - {int((i + 0.5) * SIDE / 1024) for i in range(1024)})
    for number, row in enumerate(free[:70:10]):
        array[:, row, free[number]] = [1000 + number, 800, 600]
    return array


def overwrite_overviews(path: Path, number: float) -> None:
    """Leave overviews that hold one number, whatever the image holds."""
    with rasterio.open(path) as file:
        image = file.read()
    with rasterio.open(path, "r+") as file:
        file.write(np.full(image.shape, number, image.dtype))
        file.build_overviews([2, 4, 8], Resampling.nearest)
    with rasterio.open(path, "r+") as file:
        file.write(image)


def maximum(scene: Scene) -> float | None:
    return fit_contract("scene", bands=RGB_BANDS, scene=scene).rgb_maximum


@pytest.mark.parametrize(("dtype", "fill"), [("float32", np.nan), ("uint16", 0)])
@pytest.mark.parametrize("declared", [True, False])
def test_few_valid_pixels__are_what_is_measured(
    tmp_path: Path, dtype: str, fill: float, declared: bool
) -> None:
    array = scattered(dtype, fill if declared else 0)
    path = write(tmp_path / "x.tif", array, nodata=fill if declared else None)
    with open_scene(path) as scene:
        assert scene.radiometry.scale == (1, 1, 1)
        measured = array[:, array[0] > 0]
        assert measured.size
        assert maximum(scene) == pytest.approx(np.percentile(measured, 99.9), rel=1e-6)


@pytest.mark.parametrize("number", [0, 9000])
def test_overviews__of_something_else_are_not_read(tmp_path: Path, number: float) -> None:
    array = np.random.default_rng(0).integers(500, 3000, (3, SIDE, SIDE)).astype("uint16")
    plain = write(tmp_path / "plain.tif", array, nodata=0)
    stale = write(tmp_path / "stale.tif", array, nodata=0, compress=None)
    overwrite_overviews(stale, number)
    vrt = tmp_path / "x.vrt"
    with rasterio.open(stale) as file:
        assert file.overviews(1) == [2, 4, 8]
        assert (file.read(1, out_shape=(150, 150)) == number).all()
    rasterio.shutil.copy(stale, vrt, driver="VRT")
    with open_scene(plain) as one, open_scene(stale) as two, open_scene(vrt) as three:
        wanted = one.sample(size=300)
        for other in (two, three):
            np.testing.assert_array_equal(other.sample(size=300).values, wanted.values)
            assert other.sample(size=300).valid.all()


def test_overviews__of_the_image_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(500, 3000, (3, SIDE // 8, SIDE // 8)).repeat(8, 1).repeat(8, 2)
    path = write(tmp_path / "x.tif", array.astype("uint16"), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.cubic)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the image was thinned without its overviews")

    monkeypatch.setattr("deo.scene.raster.thin_image", refuse)
    with open_scene(path) as scene:
        assert scene.sample(size=300).valid.all()


def test_nothing_valid__nothing_is_made_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "x.tif", np.zeros((3, SIDE, SIDE), "uint16"), nodata=0)
    with open_scene(path, offset=0) as scene:
        contract = fit_contract("scene", bands=RGB_BANDS, scene=scene)
        assert contract.rgb_maximum is None
        assert "none of the pixels that were looked at is valid" in caplog.text
        pixels = scene.read(Window(row=0, col=0, height=8, width=8))
        assert (contract.apply(pixels) == 0).all()
    assert Contract.from_record(contract.record()) == contract
    with pytest.raises(ConfigError, match="has no RGB maximum"):
        contract.apply(Pixels(np.ones((3, 4, 4), np.float32), np.ones((4, 4), np.bool_)))


def test_nothing_valid__in_the_part_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.tif", np.full((3, SIDE, SIDE), np.nan, "float32"))
    with open_scene(path) as scene:
        assert "without a valid number" in scene.radiometry.evidence[0]
    monkeypatch.setattr("deo.scene.sampling.LARGEST_SCANNED", SIDE * SIDE - 1)
    with pytest.raises(RadiometryError, match="--scale"):
        open_scene(path)
    with open_scene(path, scale=10_000) as scene:
        assert scene.radiometry.scale == (10_000,) * 3


def test_telling_pixels__keep_a_bounded_share_of_every_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deo.scene.sampling._MOST_KEPT", 100)
    read: list[Window] = []

    def ones(window: Window) -> Pixels:
        read.append(window)
        shape = (window.height, window.width)
        return Pixels(np.full((1, *shape), window.row + 1, np.float32), np.ones(shape, np.bool_))

    kept = telling_pixels(ones, height=5000, width=3000)
    assert sum(window.height * window.width for window in read) == 5000 * 3000
    assert kept.shape[1] <= 100
    assert len(np.unique(kept)) == 10  # rows of windows
    monkeypatch.setattr("deo.scene.sampling._PART", 3 * 512 * 2048)
    read.clear()
    telling_pixels(ones, height=10**6, width=3000)
    assert [len(read), read[-1].row > 900_000] == [3, True]


def test_thin_image__takes_the_pixels_in_the_middle() -> None:
    image = np.arange(1300 * 700, dtype=np.float32).reshape(1, 1300, 700)

    def read(window: Window) -> Pixels:
        return Pixels(image[:, *window.slices], np.ones((window.height, window.width), np.bool_))

    thin = thin_image(read, Extent(100.0, 0.0, 1300.0, 700.0), bands=1, height=400, width=100)
    np.testing.assert_array_equal(thin.values, image[:, 101::3, 3::7])
    assert thin.valid.all()
