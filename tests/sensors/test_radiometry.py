import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import Evidence, gdal_evidence, packed_evidence
from deo.sensors.floats import (
    Range,
    check_float_evidence,
    common_float_evidence,
    float_evidence,
    for_floats,
)
from deo.sensors.known.sentinel2 import baseline_evidence
from deo.sensors.radiometry import Radiometry, decide
from deo.sensors.registry import archive_evidence, path_evidence, tag_evidence

BAND = BandSet("B02")
OLD = "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419"
NEW = "S2A_MSIL1C_20230821T221941_N0509_R029_T01KAB_20230822T021825"


def one(*evidence: Evidence, **kwargs: float) -> tuple[float, float]:
    decision = decide(BAND, [evidence], **kwargs)
    return decision.scale[0], decision.offset[0]


@pytest.mark.parametrize("text", ["04.00", "4.0", "N0400", "0509", "05.10", " n0510 "])
def test_baseline__from_0400_on_owes_the_offset(text: str) -> None:
    assert baseline_evidence(text, source="x").offset == -1000


@pytest.mark.parametrize("text", ["03.01", "2.12", "N0301", "0209"])
def test_baseline__before_0400_owes_none(text: str) -> None:
    assert baseline_evidence(text, source="x").offset == 0


@pytest.mark.parametrize("text", ["99.99", "N9999", "unknown", "", "2023-08-21", "40"])
def test_baseline__others_say_nothing(text: str) -> None:
    assert baseline_evidence(text, source="x").offset is None


def test_path__product_name_decides_and_the_date_does_not() -> None:
    assert one(*path_evidence(f"/data/{NEW}.SAFE/GRANULE/x_B02.jp2")) == (1, -1000)
    assert one(*path_evidence(f"/data/{OLD}.zip")) == (1, 0)
    reprocessed = "S2A_MSIL2A_20160101T000000_N0500_R062_T43MDV_20230101T000000"
    assert one(*path_evidence(reprocessed)) == (1, -1000)
    assert path_evidence("/data/T43MDV_20230721T053721_B02_10m.jp2") == ()


def test_path__public_archives() -> None:
    cogs = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/36/Q/B04.tif"
    assert one(*path_evidence(cogs)) == (1, 0)
    assert one(*path_evidence("s3://sentinel-cogs/sentinel-s2-l2a-cogs/36/Q/B04.tif")) == (1, 0)
    assert one(*path_evidence("/data/S2A_36QWD_20230701_0_L2A/B04.tif")) == (1, 0)
    assert one(*path_evidence("/data/S2B_T38XNG_20231001T103236_L2A_B04.tif")) == (1, -1000)
    collection1 = "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/"
    assert one(*path_evidence(f"{collection1}sentinel-2-c1-l2a/36/Q/B04.tif")) == (1, -1000)


def test_harmonised_archive__advertised_offset_is_not_applied_twice() -> None:
    found = (
        *path_evidence("s3://sentinel-cogs/sentinel-s2-l2a-cogs/36/Q/B04.tif"),
        *gdal_evidence(0.0001, -0.1, floating=False),
        *tag_evidence({"s2:processing_baseline": "05.09"}),
    )
    decision = decide(BAND, [found])
    assert (decision.scale, decision.offset) == ((1,), (0,))
    assert sum("advertised, not applied a second time" in text for text in decision.evidence) == 2


@pytest.mark.parametrize(
    ("tags", "offset"),
    [
        ({"s2:processing_baseline": "05.09"}, -1000),
        ({"PROCESSING_BASELINE": "04.00"}, -1000),
        ({"processing:version": "02.14"}, 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "true"}, 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": "False"}, -1000),
        ({"PRODUCT_URI": f"{NEW}.SAFE"}, -1000),
        ({"s2:product_uri": f"{OLD}.SAFE"}, 0),
        ({"BOA_ADD_OFFSET": "-1000"}, -1000),
    ],
)
def test_tags__decide(tags: dict[str, str], offset: float) -> None:
    assert one(*tag_evidence(tags)) == (1, offset)


def test_tags__dates_and_strangers_say_nothing() -> None:
    tags = {"TIFFTAG_DATETIME": "2023:08:21", "datetime": "2023-08-21", "AREA_OR_POINT": "Area"}
    assert tag_evidence(tags) == ()


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (gdal_evidence(0.0001, -0.1, floating=False), path_evidence(OLD)),
        (gdal_evidence(0.0001, 0, floating=False), path_evidence(NEW)),
        (tag_evidence({"s2:processing_baseline": "03.01"}), path_evidence(NEW)),
        (path_evidence(OLD), path_evidence(NEW)),
    ],
)
def test_decide__contradictions_show_both_facts_and_yield_to_the_caller(first, second) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RadiometryError, match="contradictory offsets") as caught:
        decide(BAND, [(*first, *second)])
    assert first[0].fact in str(caught.value)
    assert second[0].fact in str(caught.value)
    assert one(*first, *second, offset=0) == (1, 0)


def test_decide__no_evidence_is_said() -> None:
    decision = decide(BAND, [()])
    assert decision.assumed
    assert (decision.scale, decision.offset) == ((1,), (0,))
    assert "no evidence" in decision.evidence[-1]
    assert not decide(BAND, [()], offset=0).assumed
    assert decide(BAND, [()], scale=1).assumed


@pytest.mark.parametrize("scale", [0, -1, 0.0001, float("inf"), float("nan")])
def test_decide__refuses_a_scale_that_leads_elsewhere(scale: float) -> None:
    with pytest.raises(RadiometryError, match="10000 for stored reflectance"):
        decide(BAND, [()], scale=scale)


def test_decide__per_band() -> None:
    bands = BandSet("B02,B03")
    decision = decide(bands, [path_evidence(OLD), path_evidence(NEW)])
    assert decision.offset == (0, -1000)
    assert decision.evidence[0].startswith("B02: product name")
    assert str(decision) == "B02: stored x 1 + 0, B03: stored x 1 - 1000"


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


@pytest.mark.parametrize("value", ["-1000", "-0.1"])
def test_tags__an_offset_in_digital_numbers_or_reflectance(value: str) -> None:
    assert one(*tag_evidence({"BOA_ADD_OFFSET": value}))[1] == -1000


def test_floats__a_baseline_is_about_integers_only() -> None:
    new = path_evidence(NEW)
    assert one(*for_floats(new, float_evidence("float32", reaching(0.5)))) == (10000, 0)
    assert one(*for_floats(new, float_evidence("float32", reaching(5000.0)))) == (1, -1000)


def test_apply__in_place_by_band_name() -> None:
    radiometry = Radiometry(
        bands=BandSet("B02,B03,B04"), scale=(1, 2, 10000), offset=(-1000, 0, 5), evidence=()
    )
    stored = np.array([[[0.5]], [[1500.0]]], np.float32)
    out = radiometry.apply(stored, BandSet("B04,B02"))
    assert out is stored
    assert out.ravel().tolist() == [5005, 500]


def test_record__holds_numbers_and_reasons() -> None:
    record = decide(BAND, [path_evidence(NEW)]).record()
    assert record["offset"] == [-1000]
    assert record["bands"] == ["B02"]
    assert not record["assumed"]
    assert "05.09" in record["evidence"][0]


@pytest.mark.parametrize("version", ["5.2", "2.0.1", "0509", "v05.09", "1.0"])
def test_tags__a_version_of_other_software_is_no_baseline(version: str) -> None:
    assert tag_evidence({"processing:version": version}) == ()
    assert one(*tag_evidence({"processing:version": "05.09"})) == (1, -1000)


def test_archives__without_the_offset_explain_advertised_ones() -> None:
    tags = {"PRODUCT_URI": f"{NEW}.SAFE", "scale_factor": "0.0001", "add_offset": "0"}
    found = (*tag_evidence(tags), *packed_evidence(tags, floating=False))
    with pytest.raises(RadiometryError, match="contradictory offsets"):
        decide(BAND, [found])
    assert archive_evidence("/data/x.tif", tags=[tags]) == ()
    assert one(*found, *archive_evidence("/d/HLS.S30.T17SLU.2020209.tif", tags=[])) == (1, 0)


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
        (10_000, Range(0, 3000), "is no reflectance"),
        (10_000, Range(0, 40), "is no reflectance"),
        (10_000, Range(-9999, 0.4), "down to -9999"),
        (1, Range(0, 0.4), "is no digital number"),
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
