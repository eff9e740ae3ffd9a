"""What the size of floating-point numbers says of their unit."""

import pytest

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import Evidence
from deo.sensors.floats import (
    Range,
    check_float_evidence,
    common_float_evidence,
    float_evidence,
    for_floats,
)
from deo.sensors.radiometry import decide
from deo.sensors.registry import path_evidence

BAND = BandSet("B02")


NEW = "S2A_MSIL1C_20230821T221941_N0509_R029_T01KAB_20230822T021825"


def one(*evidence: Evidence, **kwargs: float) -> tuple[float, float]:
    decision = decide(BAND, [evidence], **kwargs)
    return decision.scale[0], decision.offset[0]


def reaching(maximum: float | None) -> dict[str, Range]:
    return {} if maximum is None else {"B02": Range(0.0, maximum), "B03": Range(0.0, maximum)}


@pytest.mark.parametrize(("maximum", "scale"), [(0.4, 10000), (1.7, 10000), (4000, 1), (None, 1e4)])
def test_floats__size_decides(maximum: float | None, scale: float) -> None:
    assert one(float_evidence("float32", reaching(maximum)))[0] == scale


@pytest.mark.parametrize("maximum", [3.5, 80])
def test_floats__between_is_refused(maximum: float) -> None:
    with pytest.raises(RadiometryError, match="--scale"):
        float_evidence("float32", reaching(maximum))


def test_floats__bands_of_two_units_are_refused() -> None:
    ranges = {"B02": Range(0.0, 0.3), "B03": Range(0.0, 3000.0)}
    with pytest.raises(RadiometryError, match=r"3000 in digital numbers, but B02 reaches no"):
        float_evidence("float32", ranges)


@pytest.mark.parametrize("maximum", [0.3, 3000])
def test_floats__fill_values_nobody_declared_are_refused(maximum: float) -> None:
    with pytest.raises(RadiometryError, match=r"down to -9999, .*-a_nodata -9999 FILE"):
        float_evidence("float32", {"B02": Range(-9999.0, maximum)})


def test_floats__a_baseline_is_about_integers_only() -> None:
    new = path_evidence(NEW)
    assert one(*for_floats(new, float_evidence("float32", reaching(0.5)))) == (10000, 0)
    assert one(*for_floats(new, float_evidence("float32", reaching(5000.0)))) == (1, -1000)


def test_floats__most_images_of_a_data_set_decide_for_all() -> None:
    water, land = {"B04": Range(5, 40)}, {"B04": Range(100, 3000)}
    sea, sand, glint = ({"B04": Range(0, high)} for high in (0.04, 0.5, 4.0))
    assert common_float_evidence("float32", [water] * 9 + [land]).scale == 1
    assert common_float_evidence("float32", [sea] * 9 + [sand, glint, {}]).scale == 10_000
    assert common_float_evidence("float32", [sand, sand, land]).scale == 10_000
    assert common_float_evidence("float32", [sand, land, land]).scale == 1
    assert common_float_evidence("float32", []).scale == 10_000
    for files in ([water] * 3, [sea, {"B04": Range(0, 90)}]):  # percent, perhaps
        with pytest.raises(RadiometryError, match="too large for reflectance"):
            common_float_evidence("float32", files)


@pytest.mark.parametrize(
    ("common", "ranges", "message"),
    [
        (10_000, Range(0, 3000), "cannot be reflectance"),
        (10_000, Range(0, 40), "cannot be reflectance"),
        (10_000, Range(-9999, 0.4), "down to -9999"),
        (1, Range(0, 0.4), "cannot be digital numbers"),
        (1, Range(-9999, 3000), "down to -9999"),
        (10_000, Range(0, 4), None),
        (1, Range(0, 40), None),
        (1, Range(0, 0), None),
    ],
)
def test_floats__an_odd_image_among_others(
    common: float, ranges: Range, message: str | None
) -> None:
    unit = Evidence(fact="the others", scale=common)
    if message is None:
        check_float_evidence("float32", {"B04": ranges}, unit)
        return
    with pytest.raises(RadiometryError, match=message):
        check_float_evidence("float32", {"B04": ranges}, unit)
