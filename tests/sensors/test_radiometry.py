import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import Evidence, gdal_evidence
from deo.sensors.radiometry import Radiometry, decide
from deo.sensors.registry import path_evidence, tag_evidence

BAND = BandSet("B02")
OLD = "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419"
NEW = "S2A_MSIL1C_20230821T221941_N0509_R029_T01KAB_20230822T021825"


def one(*evidence: Evidence, **kwargs: float) -> tuple[float, float]:
    decision = decide(BAND, [evidence], **kwargs)
    return decision.scale[0], decision.offset[0]


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
