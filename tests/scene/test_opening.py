"""What is made of a raster file or an array: names, units, place."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, RadiometryError
from deo.scene.opening import open_scene
from deo.scene.window import Window
from deo.sensors.known.sentinel2 import SENTINEL2

HEIGHT, WIDTH = 37, 53
NAMES = tuple(band.name for band in SENTINEL2)
UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"descriptions": ("B4", "B3", "B2")}, "descriptions"),
        ({"descriptions": ("red", "GREEN", "Blue")}, "descriptions"),
        ({"descriptions": ("B4, central wavelength 665 nm", "B03_10m", "B2 (blue)")}, "descript"),
        (
            {"band_tags": [{"name": "B04"}, {"BANDNAME": "B3"}, {"common_name": "blue"}]},
            "band tags",
        ),
        ({"band_tags": [{"eo:common_name": c} for c in ("red", "green", "blue")]}, "band tags"),
        ({"tags": {"eo:bands": '[{"name":"B04"},{"common_name":"green"},{"name":"B02"}]'}}, "tag"),
        ({"descriptions": ("B04", None, "B02"), "band_tags": [{}, {"name": "B03"}, {}]}, "desc"),
    ],
)
def test_names__are_found(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    settings: dict[str, Any],
    source: str,
) -> None:
    with open_scene(write(tmp_path / "x.tif", numbers(3), **settings)) as scene:
        assert scene.bands == BandSet("B04,B03,B02")
        assert source in scene.names_source


def test_names__bands_without_one_are_left_aside(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = write(tmp_path / "x.tif", numbers(3), descriptions=("B04", "SCL", "B02"))
    with open_scene(path) as scene:
        assert scene.bands == BandSet("B04,B02")
        assert scene.ignored == ("x.tif band 2 (SCL)",)
        np.testing.assert_array_equal(scene.read(scene.whole).values, numbers(3)[[0, 2]])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, r"does not name its 3 bands .*--bands B04,B03,B02"),
        ({"descriptions": ("1", "2", "3")}, "does not name its 3 bands"),
        ({"descriptions": ("SR_B4", "SR_B3", "SR_B2")}, "descriptions: SR_B2, SR_B3, SR_B4"),
        ({"photometric": "RGB"}, "--bands red,green,blue for this RGB picture"),
        ({"descriptions": ("B04", "B03", "red")}, "bands 1 and 3 are both named B04"),
        (
            {"descriptions": ("B04", "B03", "B02"), "band_tags": [{"name": "B08"}, {}, {}]},
            "band 1 has contradictory names: the descriptions say B04, the band tags say B08",
        ),
    ],
)
def test_names__unclear_is_refused(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    settings: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(BandError, match=says):
        open_scene(write(tmp_path / "x.tif", numbers(3), **settings))


def test_names__a_colour_table_is_no_measurement(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = write(tmp_path / "x.tif", numbers(1, "uint8"), colormap={0: (0, 0, 0, 255)})
    for bands in (None, "B04"):
        with pytest.raises(BandError, match="colour table"):
            open_scene(path, bands=bands)


def test_bands__name_a_file_that_has_no_names(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = write(tmp_path / "x.tif", numbers(3))
    with open_scene(path, bands="B08,B04,B11") as scene:
        assert scene.bands == BandSet("B08,B04,B11")
        np.testing.assert_array_equal(
            scene.read(scene.whole, BandSet("B11,B08")).values, numbers(3)[[2, 0]]
        )
    with pytest.raises(BandError, match=r"has 3 bands without names and --bands gives 2"):
        open_scene(path, bands="B08,B04")


def test_bands__choose_from_a_file_that_has_names(thirteen: Path) -> None:
    with open_scene(thirteen, bands=["red", "B8A"]) as scene, open_scene(thirteen) as every:
        assert scene.bands == BandSet("B04,B8A")
        np.testing.assert_array_equal(
            scene.read(scene.whole).values, every.read(every.whole, BandSet("B04,B8A")).values
        )


def test_bands__a_named_file_without_them_is_refused(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = write(tmp_path / "x.tif", numbers(2), descriptions=("B02", "B03"))
    with pytest.raises(BandError, match=r"missing band B08.*got B02,B03 .*descriptions"):
        open_scene(path, bands="B02,B08")


@pytest.mark.parametrize(
    ("settings", "stored", "wanted"),
    [
        ({"scales": (0.0001,), "offsets": (-0.1,)}, "uint16", 2500 - 1000),
        ({"scales": (0.0001,)}, "uint16", 2500),
        ({"scales": (0.0002,)}, "uint16", 5000),
        ({"tags": {"s2:processing_baseline": "05.10"}}, "uint16", 1500),
        ({"tags": {"s2:processing_baseline": "03.01"}}, "int16", 2500),
        ({"scales": (1.0,), "offsets": (-1000.0,)}, "uint16", 1500),
        ({"scales": (0.0001,), "offsets": (-0.1,)}, "float32", 1500),
    ],
)
def test_radiometry__from_tags(
    write: Callable[..., Path], tmp_path: Path, settings: dict[str, Any], stored: str, wanted: float
) -> None:
    array = np.full((1, HEIGHT, WIDTH), 2500, stored)
    path = write(tmp_path / "B02.tif", array, **settings)
    with open_scene(path) as scene:
        assert not scene.radiometry.assumed
        np.testing.assert_allclose(scene.read(scene.whole).values, wanted, rtol=1e-6)
        assert scene.notes == ()


def test_radiometry__product_name_in_the_path(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    name = "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825_B02.tif"
    array = numbers(1)
    with open_scene(write(tmp_path / name, array)) as scene:
        values, valid = scene.read(scene.whole)
    np.testing.assert_array_equal(valid, array[0] != 0)
    np.testing.assert_array_equal(values, np.where(valid, array.astype("float32") - 1000, 0))
    assert "digital number 0" in scene.mask_source


def test_radiometry__contradiction_names_both_facts(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    name = "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419_B02.tif"
    path = write(tmp_path / name, numbers(1), scales=(0.0001,), offsets=(-0.1,))
    with pytest.raises(RadiometryError, match=r"GDAL scale 0\.0001, offset -0\.1.*N0212"):
        open_scene(path)
    with open_scene(path, offset=-1000) as scene:
        assert scene.radiometry.offset == (-1000,)


def test_radiometry__no_evidence_is_one_warning(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write(tmp_path / "x.tif", numbers(2), descriptions=("B02", "B03"))
    with caplog.at_level(logging.WARNING), open_scene(path) as scene:
        assert scene.radiometry.assumed
    assert len(caplog.messages) == 1
    assert "--offset -1000 if they do" in caplog.messages[0]
    caplog.clear()
    with open_scene(path, offset=0):
        assert caplog.messages == []


@pytest.mark.parametrize(
    ("georeference", "says"),
    [
        ({"crs": None, "transform": rasterio.Affine.identity()}, "no georeference"),
        ({"crs": None}, "a transform but no CRS"),
        (
            {
                "crs": "EPSG:4326",
                "transform": rasterio.Affine.identity(),
                "gcps": [rasterio.control.GroundControlPoint(r, c, 10 + c / 99, 50 - r / 99)
                         for r in (0, HEIGHT) for c in (0, WIDTH)],
            },
            "ground control points",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning:rasterio.*")
def test_georeference__lacking_is_said_and_works(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    georeference: dict[str, Any],
    says: str,
) -> None:
    path = write(tmp_path / "B02.tif", numbers(1), **georeference)
    with open_scene(path, offset=0) as scene:
        assert says in scene.notes[0]
        assert scene.read(scene.whole).valid.all()


def test_georeference__rotated_and_south_up_are_kept(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    rotated = rasterio.Affine.translation(5e5, 4e6) @ rasterio.Affine.rotation(30)
    for transform in (rotated @ rasterio.Affine.scale(10, -10), rasterio.Affine(1, 0, 3, 0, 1, -9)):
        path = write(tmp_path / "B02.tif", numbers(1), transform=transform)
        with open_scene(path) as scene:
            assert scene.transform.almost_equals(transform)
            np.testing.assert_array_equal(scene.read(scene.whole).values, numbers(1))


def test_array__equals_the_same_file(
    write: Callable[..., Path], numbers: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    array = numbers(3)
    path = write(tmp_path / "x.tif", array, nodata=9, descriptions=("B04", "B03", "B02"))
    box = Window(row=2, col=5, height=11, width=7)
    with (
        open_scene(path) as file,
        open_scene(array, bands=("B04", "B03", "B02"), nodata=9, **UTM) as memory,
    ):
        np.testing.assert_array_equal(memory.read(box).values, file.read(box).values)
        np.testing.assert_array_equal(memory.read(box).valid, file.read(box).valid)
        assert memory.grid == file.grid
        np.testing.assert_array_equal(memory.sample().values, file.sample().values)
    np.testing.assert_array_equal(array, numbers(3))


def test_vrt__is_a_raster_like_any_other(tmp_path: Path, thirteen: Path) -> None:
    vrt = tmp_path / "crop.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="10"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500050, 10, 0, 3999970, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="UInt16" band="1"><Description>B04</Description>'
        "<NoDataValue>0</NoDataValue><SimpleSource>"
        f"<SourceFilename>{thirteen}</SourceFilename><SourceBand>4</SourceBand>"
        '<SrcRect xOff="5" yOff="3" xSize="20" ySize="10"/>'
        '<DstRect xOff="0" yOff="0" xSize="20" ySize="10"/></SimpleSource></VRTRasterBand>'
        "</VRTDataset>"
    )
    with open_scene(vrt) as scene, open_scene(thirteen) as file:
        box = Window(row=3, col=5, height=10, width=20)
        np.testing.assert_array_equal(
            scene.read(scene.whole).values, file.read(box, BandSet("B04")).values
        )


def test_open__real_scenes(shared: Path) -> None:
    for path, size in (
        ("data/sentinel2/mumbai_1_20151130.tif", (889, 555)),
        ("data/sentinel2/Spain_7370579_S2Hand.tif", (512, 512)),
    ):
        with open_scene(shared / path) as scene, rasterio.open(shared / path) as file:
            assert (scene.height, scene.width) == size
            assert set(MODEL_BANDS) <= set(scene.bands)
            box = Window(row=100, col=50, height=64, width=80)
            stored = file.read(4, window=rasterio.windows.Window(50, 100, 80, 64))
            np.testing.assert_array_equal(scene.read(box, BandSet("red")).values[0], stored)
            assert scene.mask_source == "nodata 0"


def test_open__eurosat_needs_its_order_said(shared: Path) -> None:
    path = next((shared / "data/eurosat_ms/River").glob("*.tif"))
    with pytest.raises(BandError, match="does not name its 13 bands"):
        open_scene(path)
    with (
        open_scene(path, bands=(*NAMES[:8], *NAMES[9:], "B8A")) as scene,
        rasterio.open(path) as file,
    ):
        np.testing.assert_array_equal(
            scene.read(scene.whole, BandSet("B8A,B09")).values, file.read([13, 9])
        )


@pytest.mark.parametrize("dtype", [">u2", ">i2", "<u4", ">u8", "<i8"])
def test_array__of_any_integers_is_what_its_numbers_are(dtype: str) -> None:
    array = np.random.default_rng(0).integers(1, 9000, (1, 40, 40)).astype(dtype)
    array[0, 0] = 7
    view = array[:, ::2, ::-1]
    view.flags.writeable = False
    with open_scene(view, bands="B04", nodata=7) as scene:
        assert scene.radiometry.scale == (1,)
        values, valid = scene.read(scene.whole)
    np.testing.assert_array_equal(valid, view[0] != 7)
    np.testing.assert_array_equal(values, np.where(valid, view, 0))


def test_open__whole_numbers_for_scale_and_offset_are_those_with_a_point() -> None:
    array = np.ones((1, 8, 8), np.uint16)
    records = [
        open_scene(array, bands="B04", scale=scale, offset=offset).record()["radiometry"]
        for scale, offset in ((1, 0), (1.0, 0.0), (np.float32(1), np.int64(0)))
    ]
    assert len({json.dumps(record) for record in records}) == 1
