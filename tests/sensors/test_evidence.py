"""What GDAL's scale and offset say."""

import pytest

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import Evidence, gdal_evidence
from deo.sensors.radiometry import decide

BAND = BandSet("B02")


def one(*evidence: Evidence, **kwargs: float) -> tuple[float, float]:
    decision = decide(BAND, [evidence], **kwargs)
    return decision.scale[0], decision.offset[0]


@pytest.mark.parametrize(
    ("scale", "offset", "floating", "wanted"),
    [
        (0.0001, -0.1, False, (1, -1000)),
        (0.0001, 0, False, (1, 0)),
        (1 / 65535, 0, False, (10000 / 65535, 0)),
        (1, -1000, False, (1, -1000)),
        (1, -0.1, True, (10000, -1000)),
        (2e-5, -0.2, False, (0.2, -2000)),
    ],
)
def test_gdal_tags__reflectance_or_digital_numbers(
    scale: float, offset: float, floating: bool, wanted: tuple[float, float]
) -> None:
    assert one(*gdal_evidence(scale, offset, floating=floating)) == pytest.approx(wanted)


def test_gdal_tags__defaults_say_nothing() -> None:
    assert gdal_evidence(1, 0, floating=False) == ()


@pytest.mark.parametrize(
    ("scale", "offset"), [(0.0001, 1000), (1, -0.1), (0.01, 0), (-0.0001, 0), (0, 0), (2, 0)]
)
def test_gdal_tags__refuse_a_unit_that_cannot_be_told(scale: float, offset: float) -> None:
    with pytest.raises(RadiometryError, match="--scale and --offset"):
        gdal_evidence(scale, offset, floating=False)
    found = gdal_evidence(scale, offset, floating=False, overruled=True)
    assert one(*found, scale=1, offset=-1000) == (1, -1000)
