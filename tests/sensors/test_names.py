"""Which band a text means: by what follows a band's name, and by whose file it is."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.errors import BandError
from deo.scene.opening import open_scene
from deo.sensors.known.sentinel2 import SENSOR
from deo.sensors.names import Names, describe_band, file_band, is_classification, raster_bands

STACK = ("B02", "B03", "B04")


def named(
    *descriptions: str | None, path: str = "x.tif", tags: dict[str, str] | None = None, **more: Any
) -> Names:
    own = more.pop("band_tags", [{}] * len(descriptions))
    return raster_bands(descriptions, own, tags or {}, path, **more)


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("B4, central wavelength 665 nm", "B04"),
        ("B1, central wavelength 443 nm, 60 m", "B01"),
        ("B02_10m", "B02"),
        ("B02 10m", "B02"),
        ("B8A (nir08)", "B8A"),
        ("B8A narrow NIR, 865 nm", "B8A"),
        ("B04: red", "B04"),
        ("B04 - Red - 10 m", "B04"),
        ("B05 (Vegetation Red Edge 1)", "B05"),
        ("B09 water vapour", "B09"),
        ("B12 (SWIR 2, 2190nm)", "B12"),
        ("B04 [0.665 µm]", "B04"),
        ("B03_SR", "B03"),
        ("B03 TOA reflectance", "B03"),
        ("B08_20200715", "B08"),
        ("b8", "B08"),
    ],
)
def test_description__of_a_band(text: str, band: str) -> None:
    assert describe_band(text, SENSOR).band == band


@pytest.mark.parametrize(
    "text",
    [
        *("B2_stdDev", "B2_variance", "B4_count", "B4 median", "B4_p90"),
        *("B8_B4_nd", "B8-B4", "B8/B4", "B8 + B4", "B4 (B5)"),
        *("B04_azimuth", "B04 zenith", "B4 uncertainty", "B04_mask", "B4_1"),
        *("B5 (NIR)", "B5, near infrared", "B1 red", "B10 thermal", "B8 panchromatic"),
        *("B5, central wavelength 865 nm", "B1 645nm", "B06 1.61 µm"),
    ],
)
def test_description__that_begins_like_a_band(text: str) -> None:
    assert describe_band(text, SENSOR).band is None


def test_description__of_something_derived_overrules_other_places() -> None:
    assert named("B04 uncertainty", path="B04.tif").names == (None,)
    assert named("B04_clipped", path="B04.tif").names == ("B04",)
    assert named("B4", "B3", "B8_B4_nd").names == ("B04", "B03", None)


@pytest.mark.parametrize("strange", ["B5 (NIR)", "B5, central wavelength 865 nm"])
def test_stack__with_a_foreign_colour_is_not_believed(strange: str) -> None:
    assert named("B2", "B3", "B4", strange).names == (None,) * 4
    assert "belong to another sensor" in str(named("B2", strange).doubt)


@pytest.mark.parametrize(
    "tags",
    [
        {"name": "B5", "common_name": "nir"},
        {"name": "B05", "center_wavelength": "0.865"},
        {"name": "B5", "wavelength": "865 nm"},
    ],
)
def test_band_tags__that_contradict_each_other_are_another_sensors(tags: dict[str, str]) -> None:
    assert named(None, None, band_tags=[{"name": "B2"}, tags]).names == (None, None)
    listed = f'[{{"name": "B02"}}, {str(tags).replace(chr(39), chr(34))}]'
    assert named(None, None, tags={"eo:bands": listed}).names == (None, None)


@pytest.mark.parametrize(
    "name",
    ["B04_azimuth.tif", "B2_stdDev.tif", "B04 uncertainty.tif", "sunZenithAngles_B04.tif"],
)
def test_file_band__of_something_derived(name: str) -> None:
    assert file_band(name) is None


@pytest.mark.parametrize("name", ["B04_clip.tif", "S2_2020_B04_final.tif", "x_FRE_B4.tif"])
def test_file_band__with_other_words(name: str) -> None:
    assert file_band(name) == "B04"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("T33TUL_20230823T095559_SCL_20m.jp2", True),
        ("https://host/a/SCL.tif?sig=1", True),
        ("scl", True),
        ("T33TUL_20230823T095559_B04_10m.jp2", False),
        ("MSK_CLASSI_B00.jp2", False),
        ("SCLx.tif", False),
    ],
)
def test_classification__is_told_by_its_name(name: str, is_one: bool) -> None:
    assert is_classification(name) is is_one


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10, 12, 13, 14])
def test_unnamed__the_suggestion_names_every_band(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=count, height=4, width=4,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(np.ones((count, 4, 4), "uint16"))
    with pytest.raises(BandError) as caught:
        open_scene(path)
    if suggested := re.search(r"--bands (\w+(?:,\w+)*) ?(?:for|if|\()", str(caught.value)):
        with open_scene(path, bands=suggested[1]) as scene:
            assert len(scene.bands) == count
