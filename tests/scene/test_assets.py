"""Lists and folders of single-band files as one scene."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from deo.bands import BandSet
from deo.errors import BandError, SceneError
from deo.scene.opening import open_scene
from deo.scene.window import Window
from deo.sensors.names import file_band

EXTENT = 240  # metres


def write(folder: Path, name: str, size: float, *, seed: int = 0, **settings: object) -> Path:
    """A single-band file of random numbers over the extent in pixels of `size` metres."""
    pixels = round(EXTENT / size)
    array = np.random.default_rng(seed).integers(1, 9000, (1, pixels, pixels)).astype("uint16")
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "height": pixels, "width": pixels,
        "crs": "EPSG:32633", "transform": rasterio.Affine(size, 0, 5e5, 0, -size, 4e6),
    }  # fmt: skip
    with rasterio.open(folder / name, "w", **(profile | settings)) as file:
        file.write(array)
    return folder / name


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    stem = "T33TUL_20180721T053721"
    return [
        write(tmp_path, f"{stem}_{band}_{size}m.tif", size, seed=seed)
        for seed, (band, size) in enumerate((("B05", 20), ("B02", 10), ("B01", 60), ("B04", 10)))
    ]


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("T33TUL_20230823T095559_B02_10m.jp2", "B02"),
        ("T33TUL_20230823T095559_B8A.jp2", "B8A"),
        ("S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T32TQR_B08.jp2", "B08"),
        ("L2A_T43MDV_20180721T053721_B11_20m.jp2", "B11"),
        ("B04.tif", "B04"),
        ("b4.TIF", "B04"),
        ("red.tif", "B04"),
        ("scene-nir08.tif", "B8A"),
        ("red_sea_B02.tif", "B02"),
        ("HLS.S30.T17SLU.2020209T160105.v1.5.B8A.tif", "B8A"),
        ("https://host/sentinel-s2-l2a-cogs/36/Q/B12.tif?sig=B02", "B12"),
        ("B02_B03.tif", None),
        ("T33TUL_20230823T095559_SCL_20m.jp2", None),
        ("T33TUL_20230823T095559_TCI_10m.jp2", None),
        ("LC08_L2SP_044034_20200101_02_T1_SR_B4.TIF", None),
        ("HLS.L30.T17SLU.2020209T155956.v1.5.B05.tif", None),
        ("scene_10.tif", None),
        ("20230823.tif", None),
    ],
)
def test_file_band__from_names(name: str, band: str | None) -> None:
    assert file_band(name) == band


def test_list__lies_on_the_finest_grid(mixed: list[Path]) -> None:
    with open_scene(mixed) as scene:
        assert (scene.height, scene.width) == (24, 24)
        assert scene.bands == BandSet("B05,B02,B01,B04")
        assert scene.kernels == {
            "B05": "bilinear", "B02": "copy", "B01": "bilinear", "B04": "copy",
        }  # fmt: skip
        values, valid = scene.read(scene.whole, BandSet("B04,B01,B05,B02"))
    assert valid.all()
    for plane, path in zip(values, (mixed[3], mixed[2], mixed[0], mixed[1]), strict=True):
        with rasterio.open(path) as file:
            if file.height == 24:
                np.testing.assert_array_equal(plane, file.read(1))
            else:
                wanted = file.read(
                    1, out_shape=(24, 24), resampling=Resampling.bilinear, out_dtype="float32"
                )
                np.testing.assert_allclose(plane, wanted, atol=0.51)  # GDAL rounds to integers


def test_list__the_finest_of_the_bands_asked_for(mixed: list[Path]) -> None:
    with open_scene(mixed, bands="B01,B05") as scene:
        assert (scene.height, scene.width) == (12, 12)
        assert scene.kernels == {"B01": "bilinear", "B05": "copy"}


def test_list__coarser_on_request_averages(mixed: list[Path]) -> None:
    with open_scene(mixed, bands="B02,B05", resolution=20) as scene:
        values, valid = scene.read(scene.whole)
        assert scene.kernels == {"B02": "average", "B05": "copy"}
    with rasterio.open(mixed[1]) as file:
        wanted = file.read(1).reshape(12, 2, 12, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(values[0], wanted, rtol=1e-6)
    assert valid.all()


def test_list__windows_agree_with_the_whole(mixed: list[Path]) -> None:
    with open_scene(mixed) as scene:
        everything = scene.read(scene.whole).values
        part = scene.read(Window(row=7, col=3, height=9, width=14)).values
    np.testing.assert_array_equal(part, everything[:, 7:16, 3:17])


def test_list__nodata_of_a_coarse_band_is_not_valid(tmp_path: Path) -> None:
    fine = write(tmp_path, "B02.tif", 10)
    coarse = write(tmp_path, "B05.tif", 20, nodata=0)
    with rasterio.open(coarse, "r+") as file:
        file.write(np.zeros((1, 3, 4), "uint16"), window=((0, 3), (0, 4)))
    with open_scene([fine, coarse]) as scene:
        values, valid = scene.read(scene.whole)
    assert not valid[:6, :8].any()
    assert valid.sum() == 24 * 24 - 48
    assert values[1][valid].min() >= 1


def test_list__a_smaller_file_is_missing_beyond_its_edge(tmp_path: Path) -> None:
    fine = write(tmp_path, "B02.tif", 10)
    short = write(tmp_path, "B03.tif", 10, height=20, transform=rasterio.Affine(10, 0, 5e5, 0, -10,
                  4e6 - 20))  # fmt: skip
    with open_scene([fine, short]) as scene:
        valid = scene.read(scene.whole).valid
        assert scene.read(Window(row=0, col=0, height=2, width=5)).valid.sum() == 0
        assert scene.read(Window(row=23, col=0, height=1, width=5)).valid.sum() == 0
    assert valid[2:22].all()
    assert not valid[:2].any()
    assert not valid[22:].any()


@pytest.mark.parametrize("first", ["B03", "B04"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_sample__shows_the_ground_that_read_does(tmp_path: Path, first: str, step: int) -> None:
    """Files of unequal extent, each number the ground column (B04) or row (B03) it lies on."""
    column, row = np.meshgrid(np.arange(36), np.arange(36))
    wide = write(tmp_path, "B04.tif", 10, height=36, width=36)
    part = write(tmp_path, "B03.tif", 10, height=24, width=12,
                 transform=rasterio.Affine(10, 0, 5e5 + 60, 0, -10, 4e6 - 120))  # fmt: skip
    for path, ground in ((wide, column), (part, row[12:, 6:18])):
        with rasterio.open(path, "r+") as file:
            file.write(ground.astype("uint16") + 1, 1)
    files = [wide, part] if first == "B04" else [part, wide]
    with open_scene(files, offset=0) as scene:
        sample = scene.sample(size=max(scene.height, scene.width) // step)
        everything = scene.read(scene.whole)
        kept = np.s_[..., step // 2 :: step, step // 2 :: step]
        assert sample.valid.sum() == 24 * 12 // step**2
        np.testing.assert_array_equal(sample.valid, everything.valid[kept])
        np.testing.assert_array_equal(sample.values, everything.values[kept])


def test_list__bands_name_nameless_files_in_order(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{name}.tif", 10, seed=seed) for seed, name in enumerate("xy")]
    with open_scene(files, bands="B08,B02") as scene, rasterio.open(files[1]) as second:
        assert scene.bands == BandSet("B08,B02")
        np.testing.assert_array_equal(scene.read(scene.whole, BandSet("B02")).values, second.read())
    with pytest.raises(BandError, match=r"names 3 bands .* for 2 files"):
        open_scene(files, bands="B08,B02,B03")
    with pytest.raises(BandError, match="does not name its 1 band"):
        open_scene(files)


def test_list__a_band_twice(tmp_path: Path) -> None:
    fine, same = write(tmp_path, "B02.tif", 10), write(tmp_path, "x_B02.tif", 10)
    coarse = write(tmp_path, "y_B02_20m.tif", 20, seed=4)
    with pytest.raises(BandError, match="band B02 occurs 2 times"):
        open_scene([fine, same])
    with open_scene([coarse, fine]) as scene:
        assert scene.height == 24
    with open_scene([coarse, fine], resolution=20) as scene, rasterio.open(coarse) as file:
        np.testing.assert_array_equal(scene.read(scene.whole).values, file.read())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"crs": "EPSG:32634"}, "a different CRS"),
        ({"transform": rasterio.Affine(20, 0, 5e5 + 7, 0, -20, 4e6)}, "not aligned"),
        ({"transform": rasterio.Affine(20, 0, 6e5, 0, -20, 4e6)}, "does not overlap"),
    ],
)
def test_list__grids_that_do_not_fit(tmp_path: Path, change: dict, says: str) -> None:
    files = [write(tmp_path, "B02.tif", 10), write(tmp_path, "B05.tif", 20, **change)]
    with pytest.raises(SceneError, match=says) as caught:
        open_scene(files)
    assert "B05.tif" in str(caught.value)


def test_folder__takes_spectral_files_only(mixed: list[Path], tmp_path: Path) -> None:
    write(tmp_path, "T33TUL_20180721T053721_SCL_20m.tif", 20)
    (tmp_path / "T33TUL_20180721T053721_B03_10m.tif.aux.xml").write_text("<PAMDataset/>")
    with open_scene(tmp_path) as scene, open_scene(mixed) as listed:
        assert set(scene.bands) == set(listed.bands)
        np.testing.assert_array_equal(
            scene.read(scene.whole, listed.bands).values, listed.read(listed.whole).values
        )
        assert scene.name == tmp_path.name


def test_folder__resolutions_in_subfolders(tmp_path: Path) -> None:
    for size in (10, 20, 60):
        (tmp_path / f"R{size}m").mkdir()
        write(tmp_path / f"R{size}m", f"T33TUL_20180721T053721_B02_{size}m.tif", size)
    with open_scene(tmp_path) as scene:
        assert scene.grid.pixel == (10, 10)
    with open_scene(tmp_path, resolution=60) as scene:
        assert scene.kernels == {"B02": "copy"}


def test_folder__without_named_files(tmp_path: Path) -> None:
    write(tmp_path, "scene.tif", 10)
    with pytest.raises(SceneError, match=r"none of its 1 raster files names a band"):
        open_scene(tmp_path)


def test_list__esa_names_mean_that_zero_is_nodata(tmp_path: Path) -> None:
    path = write(tmp_path, "T33TUL_20180721T053721_B02_10m.tif", 10)
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros((1, 2, 2), "uint16"), window=((0, 2), (0, 2)))
    with open_scene([path]) as scene:
        assert "digital number 0" in scene.mask_source
        assert not scene.read(scene.whole).valid[:2, :2].any()
