"""What Sentinel-2's baselines, product names, archives and tags say of the offset."""

import pytest

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import Evidence, gdal_evidence, packed_evidence
from deo.sensors.known.sentinel2 import baseline_evidence
from deo.sensors.radiometry import decide
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


@pytest.mark.parametrize("value", ["-1000", "-0.1"])
def test_tags__an_offset_in_digital_numbers_or_reflectance(value: str) -> None:
    assert one(*tag_evidence({"BOA_ADD_OFFSET": value}))[1] == -1000


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
