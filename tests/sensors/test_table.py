"""One sensor's table: spellings that mean a band on their own, and tables that are refused."""

import re

import pytest

from deo.errors import BandError
from deo.sensors.known.sentinel2 import SENSOR, SENTINEL2
from deo.sensors.table import Sensor


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, "B02") for text in ("B02", "b2", "2", "02", " blue ", "B2")),
        *((text, "B8A") for text in ("B8A", "b08a", "8a", "nir08")),
        *((text, "B05") for text in ("rededge1", "rededge071")),
        *((text, None) for text in ("B002", "B13", "B0", "band 2", "", "b", "B8AA")),
    ],
)
def test_band__is_what_a_text_means_alone(text: str, name: str | None) -> None:
    band = SENSOR.band(text)
    assert (band and band.name) == name


def test_begins__splits_a_name_from_the_rest() -> None:
    match = SENSOR.begins.fullmatch(" b8a (nir08)")
    assert match is not None
    assert match.groups() == ("b8a", " (nir08)")
    assert SENSOR.begins.fullmatch("B8ABC") is None


@pytest.mark.parametrize("bands", [(), SENTINEL2[:1] * 2])
def test_sensor__needs_bands_each_once(bands: tuple) -> None:
    with pytest.raises(BandError, match="bands with one name each"):
        Sensor(name="x", bands=bands, sign=re.compile("x"), spelling=re.compile("x"))


def test_sensor__says_nothing_by_default() -> None:
    sensor = Sensor(name="x", bands=SENTINEL2[:1], sign=re.compile("x"), spelling=re.compile("x"))
    assert sensor.path_evidence("S2A_36QWD_20230701_0_L2A") == ()
    assert sensor.tag_evidence({"s2:processing_baseline": "05.09"}) == ()
    assert sensor.archive_evidence(["HLS.S30.x"], []) == ()
    assert not sensor.own_image.search("")
