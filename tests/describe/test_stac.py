import datetime as dt
from collections.abc import Callable

import pytest
from rasterio.crs import CRS

from deo.describe.stac import ANYWHERE, PROJECTION, Extent, item, projection


def test_item__validates(valid: Callable[..., None]) -> None:
    made = item(
        "a",
        ANYWHERE,
        extensions=[PROJECTION],
        properties=projection(CRS.from_epsg(32633)),
        assets={"data": {"href": "./a.tif", "roles": ["data"]}},
        links=[{"rel": "via", "href": "b.json"}],
    )
    valid(made, "stac/item.json")
    valid(made, "projection.json")
    with pytest.raises(AssertionError, match="None is not"):
        valid({**made, "id": None}, "stac/item.json")


@pytest.mark.parametrize(
    ("crs", "wanted"),
    [
        ("EPSG:32633", {"proj:code": "EPSG:32633"}),
        ("ESRI:54009", {"proj:code": "ESRI:54009"}),
        ("IAU_2015:30100", None),
        ("+proj=laea +lat_0=10 +lon_0=12 +datum=WGS84", None),
    ],
)
def test_projection__a_code_or_else_wkt2(crs: str, wanted: dict[str, str] | None) -> None:
    fields = projection(CRS.from_user_input(crs))
    if wanted is None:
        assert list(fields) == ["proj:wkt2"]
        assert CRS.from_wkt(fields["proj:wkt2"]) == CRS.from_user_input(crs)
    else:
        assert fields == wanted
    assert projection(None) == {}


def test_extent__a_time_or_all_of_sentinel_2() -> None:
    sensed = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    known = Extent(geometry=ANYWHERE.geometry, bbox=ANYWHERE.bbox, sensed=sensed)
    assert known.when() == {"datetime": "2024-05-06T07:08:09Z"}
    assert ANYWHERE.when()["datetime"] is None
    assert ANYWHERE.when()["start_datetime"] < ANYWHERE.when()["end_datetime"]
