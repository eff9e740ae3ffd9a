"""Whose sensor's a raster is, by names, tags and bands."""

from typing import Any

import pytest

from deo.sensors.known.sentinel2 import SENSOR
from deo.sensors.names import Names, file_band, raster_bands
from deo.sensors.recognise import recognise_path, recognise_sensor

STACK = ("B02", "B03", "B04")


def named(
    *descriptions: str | None, path: str = "x.tif", tags: dict[str, str] | None = None, **more: Any
) -> Names:
    own = more.pop("band_tags", [{}] * len(descriptions))
    return raster_bands(descriptions, own, tags or {}, path, **more)


@pytest.mark.parametrize(
    "path",
    [
        "LC08_044034_20140318.tif",
        "crop_LC09_L2SP_044034_20220101_20220105_02_T1_stack.tif",
        "LC80440342014077LGN00.tif",
        "LE07_L1TP_044034_20000101_20170101_01_T1/stack.tif",
        "HLS.L30.T17SLU.2020209T155956.v2.0.tif",
        "MOD09GA.A2020123.h18v04.tif",
        "MCD43A4.A2020123.h18v04.061.tif",
        "VNP09GA.A2020123.h18v04.tif",
        "20200715_101010_1003_3B_AnalyticMS.tif",
        "landsat8_2020.tif",
    ],
)
def test_stack__of_another_sensor_by_name(path: str) -> None:
    assert named(*STACK, path=f"/data/{path}").names == (None,) * 3
    assert named(*STACK, path="stack.vrt", behind=[f"/data/{path}"]).names == (None,) * 3
    assert file_band(f"/data/{path.removesuffix('.tif')}_B4.tif") is None


@pytest.mark.parametrize(
    "tags",
    [
        {"SATELLITE": "LANDSAT_8"},
        {"SPACECRAFT_ID": "LANDSAT_9", "SENSOR_ID": "OLI_TIRS"},
        {"platform": "landsat-8"},
        {"PLATFORM": "Terra"},
        {"instruments": '["oli"]'},
        {"LANDSAT_PRODUCT_ID": "x"},
        {"TIFFTAG_IMAGEDESCRIPTION": "LC08_L1TP_044034_20140318_20170101_01_T1"},
        {"LOCALGRANULEID": "MOD09GA.A2020123.h18v04.006.hdf"},
        {"satellite": "PlanetScope"},
    ],
)
def test_stack__of_another_sensor_by_tags(tags: dict[str, str]) -> None:
    assert named(*STACK, tags=tags).names == (None,) * 3
    assert named("B04", tags=tags, path="B04.tif").names == (None,)


def test_stack__of_another_sensor_by_its_other_bands() -> None:
    assert named("B2", "B3", "B4", "QA_PIXEL").names == (None,) * 4


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("x.tif", {"SPACECRAFT_NAME": "Sentinel-2A"}),
        ("x.tif", {"platform": "sentinel-2b", "note": "registered to LC08_L1TP_044034_20140318"}),
        ("S2_registered_to_landsat.tif", {}),
        ("HLS.S30.T17SLU.2020209T160105.v2.0.tif", {"SENSOR": "MSI"}),
        ("S2A_MSIL2A_20200101T000000_N0213_R001_T33TUL_20200101T000000.tif", {}),
        ("raster_of_terracotta.tif", {}),
    ],
)
def test_stack__of_sentinel_2_is_believed(path: str, tags: dict[str, str]) -> None:
    assert named(*STACK, path=path, tags=tags).names == STACK


def test_recognise__says_whose_and_by_what() -> None:
    assert recognise_sensor(["/data/x.tif"], {}, ()) == (SENSOR, None)
    assert recognise_sensor(["/data/x.tif"], {"platform": "landsat-8"}, ()) == (
        None,
        "tag platform (landsat-8)",
    )
    strange = recognise_path("/data/LC08_L2SP_044034/B4.TIF")
    assert strange == (None, "the name LC08_L2SP_044034 (LC08_L2)")
