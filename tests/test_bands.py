import pytest
from hypothesis import given
from hypothesis import strategies as st

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.sensors.registry import canonical_name

NAMES = [band.name for band in SENTINEL2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B02", "B02"),
        ("b2", "B02"),
        (" B2 ", "B02"),
        ("blue", "B02"),
        ("RED", "B04"),
        ("rededge1", "B05"),
        ("rededge2", "B06"),
        ("rededge3", "B07"),
        ("nir", "B08"),
        ("nir08", "B8A"),
        ("B8a", "B8A"),
        ("B08A", "B8A"),
        ("swir16", "B11"),
        ("swir22", "B12"),
        ("coastal", "B01"),
        ("nir09", "B09"),
        ("10", "B10"),
    ],
)
def test_canonical_name__spellings(text: str, name: str) -> None:
    assert canonical_name(text) == name


@pytest.mark.parametrize("text", ["", "B", "B0", "B00", "B13", "B002", "B8B", "redd", "SCL", "-1"])
def test_canonical_name__other_text_means_nothing(text: str) -> None:
    assert canonical_name(text) is None


@given(st.sampled_from(SENTINEL2), st.sampled_from([str.lower, str.upper, str.title]))
def test_canonical_name__case_does_not_matter(band, case) -> None:  # type: ignore[no-untyped-def]
    assert canonical_name(case(band.name)) == canonical_name(case(band.common_name)) == band.name


def test_model_bands__order_of_the_published_stems() -> None:
    assert str(MODEL_BANDS) == "B04,B03,B02,B05,B06,B07,B08,B8A,B11,B12"
    assert str(RGB_BANDS) == "B04,B03,B02"
    assert MODEL_BANDS.names[:3] == RGB_BANDS.names


def test_statistics__follow_the_order() -> None:
    assert BandSet(("B12", "blue")).mean == (1247.91870117, 1184.3824625)
    assert BandSet(("B12", "blue")).std == (1087.6020813, 650.2842772)


def test_band_set__text_or_names() -> None:
    assert BandSet("red, green,B2") == BandSet(["B04", "B03", "B02"]) == BandSet.parse("b4,b3,b2,")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "no bands"),
        (["B02", "blue"], "B02 is named twice"),
        (["B02", "B99"], "'B99'"),
        ([4, 3], "band 4"),
    ],
)
def test_band_set__refuses(names: list[str], says: str) -> None:
    with pytest.raises(BandError, match=says):
        BandSet(names)


@given(st.permutations(NAMES), st.integers(1, 13))
def test_positions_in__is_the_reordering(order: list[str], count: int) -> None:
    wanted = BandSet(sorted(order[:count]))
    assert [order[position] for position in wanted.positions_in(order)] == list(wanted)


def test_positions_in__missing_shows_both_sides() -> None:
    with pytest.raises(BandError, match=r"missing bands B05, B8A; wanted B05,B8A, got B02"):
        BandSet("B05,B8A").positions_in(["B02"])
