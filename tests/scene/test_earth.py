"""Places on the Earth: the circle of longitudes, the 180th meridian, the poles, and no place."""

import math
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as reproject

from deo.errors import SceneError
from deo.scene import earth
from deo.scene.earth import Area, Box, Ground, Place, geojson, join, parse_place

FIJI = Affine(10, 0, 817_400, 0, -10, 8_120_200)  # 448 pixels in EPSG:32760, 180 in the middle


def ground(crs: Any, transform: Affine) -> Ground:
    return Ground(name="map.tif", crs=CRS.from_user_input(crs), transform=transform)


def square_metres(area: Area) -> float:
    """By the sphere's law: an oracle that knows no cuts."""
    total = 0.0
    for ring in area.rings:
        lon, lat = np.radians(ring).T
        total += 6_371_007.0**2 * np.sum(np.diff(lon) * -(np.sin(lat[1:]) + np.sin(lat[:-1]))) / 2
    return float(total)


def check_shape(area: Area) -> Any:
    """Valid, counter-clockwise, in -180..180, and within its box."""
    import shapely
    from shapely.geometry import shape

    polygons = shape(geojson(area, digits=7))
    assert polygons.is_valid
    assert all(shapely.LinearRing(ring).is_ccw for ring in area.rings)
    assert all((ring[0] == ring[-1]).all() for ring in area.rings)
    west, south, east, north = polygons.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    return polygons


@pytest.mark.parametrize("south_up", [False, True])
def test_area__is_cut_at_180_degrees(south_up: bool) -> None:
    transform = FIJI @ Affine(1, 0, 0, 0, -1, 448) if south_up else FIJI
    area = ground("EPSG:32760", transform).area(height=448, width=448)
    assert check_shape(area).geom_type == "MultiPolygon"
    west, _, east, _ = area.box
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    assert square_metres(area) == pytest.approx(4480**2, rel=0.01)


@pytest.mark.parametrize(
    ("left", "width", "sides", "kind"),
    [
        (184.0, 2, (-176, -174), "Polygon"),
        (-186.0, 2, (174, 176), "Polygon"),
        (179.0, 2, (179, -179), "MultiPolygon"),
        (178.0, 2, (178, 180), "Polygon"),
        (180.0, 2, (-180, -178), "Polygon"),
        (-181.0, 2, (179, -179), "MultiPolygon"),
        (0.0, 360, (-180, 180), "Polygon"),
        (-180.0, 360, (-180, 180), "Polygon"),
        (-0.5, 361, (-180, 180), "Polygon"),
        (10.0, 180, (10, -170), "MultiPolygon"),
    ],
)
def test_area__of_grids_in_degrees(
    left: float, width: int, sides: tuple[float, float], kind: str
) -> None:
    area = ground("EPSG:4326", Affine(1, 0, left, 0, -1, 10)).area(height=4, width=width)
    assert check_shape(area).geom_type == kind
    assert area.box == (sides[0], 6, sides[1], 10)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90.0), ("EPSG:3031", -90.0)])
@pytest.mark.parametrize("south_up", [False, True])
def test_area__around_a_pole_reaches_it(crs: str, pole: float, south_up: bool) -> None:
    rows = Affine(1, 0, 0, 0, -1, 1000) if south_up else Affine.identity()
    transform = Affine(1000, 0, -500_000, 0, -1000, 800_000) @ rows
    area = ground(crs, transform).area(height=1000, width=1000)
    check_shape(area)
    assert (area.box.west, area.box.east) == (-180, 180)
    _, (corner,) = reproject(crs, "EPSG:4326", [-500_000], [800_000])
    assert (area.box.south, area.box.north) == pytest.approx(sorted((corner, pole)), abs=1e-6)
    assert square_metres(area) == pytest.approx(1e12, rel=0.06)  # the projection shrinks


@pytest.mark.parametrize(
    ("left", "sides"), [(0, (45, 135)), (-1_000_000, (135, -135)), (-500_000, (45, -135))]
)
def test_area__with_a_pole_on_its_side(left: float, sides: tuple[float, float]) -> None:
    transform = Affine(1000, 0, left, 0, -1000, 1_000_000)
    area = ground("EPSG:3413", transform).area(height=1000, width=1000)
    check_shape(area)
    assert area.box.west == pytest.approx(sides[0], abs=1e-6)
    assert area.box.east == pytest.approx(sides[1], abs=1e-6)
    assert area.box.north == 90
    assert square_metres(area) == pytest.approx(1e12, rel=0.06)


@pytest.mark.parametrize("longitude", [178.2, 179.9995, 179.998, 180.0, -179.999])
def test_area__where_a_bent_side_runs_along_180(longitude: float) -> None:
    """It may cross it twice, and leave two pieces on one side."""
    (x,), _ = reproject("EPSG:4326", "EPSG:32760", [longitude], [-17.0])
    area = ground("EPSG:32760", Affine(10, 0, x - 109_800, 0, -10, 8_200_000)).area(
        height=10_980, width=10_980
    )
    check_shape(area)
    assert square_metres(area) == pytest.approx(109_800**2, rel=0.01)


def test_area__sides_follow_the_ground() -> None:
    """The parallel bows: corners alone would leave 230 m of a Sentinel-2 tile outside the box."""
    transform = Affine(10, 0, 499_980 - 54_900, 0, -10, 5_000_040)
    area = ground("EPSG:32633", transform).area(height=10_980, width=10_980)
    along = np.linspace(0, 109_800, 3001)
    for x, y in (
        (transform.c + along, np.full(3001, transform.f)),
        (transform.c + along, np.full(3001, transform.f - 109_800)),
        (np.full(3001, transform.c), transform.f - along),
        (np.full(3001, transform.c + 109_800), transform.f - along),
    ):
        longitude, latitude = reproject("EPSG:32633", "EPSG:4326", x, y)
        assert min(longitude) > area.box.west - 2e-6
        assert max(longitude) < area.box.east + 2e-6
        assert min(latitude) > area.box.south - 2e-6
        assert max(latitude) < area.box.north + 2e-6


def test_outlines__have_five_points_where_nothing_bends() -> None:
    small = ground("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000))
    assert [len(area.rings[0]) for area in small.outlines(np.array([[0, 0, 8, 8]] * 3))] == [5] * 3
    large = ground("EPSG:4326", Affine(0.1, 0, -20, 0, -0.1, 60)).area(height=600, width=900)
    np.testing.assert_allclose(large.rings[0], [(-20, 60), (-20, 0), (70, 0), (70, 60), (-20, 60)])


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([(1, 2, 3, 4)], (1, 2, 3, 4)),
        ([(1, 2, 3, 4), (-5, 0, 2, 1)], (-5, 0, 3, 4)),
        ([(179, 0, 180, 1), (-180, 0, -179, 1)], (179, 0, -179, 1)),
        ([(170, 0, -170, 1), (-175, 0, -160, 1)], (170, 0, -160, 1)),
        ([(170, 0, -170, 1), (-160, 0, -150, 1)], (170, 0, -150, 1)),
        ([(-180, 0, 0, 1), (0, 0, 180, 1)], (-180, 0, 180, 1)),
        ([(-180, 0, 180, 1), (3, 5, 4, 6)], (-180, 0, 180, 6)),
    ],
)
def test_join__is_the_smallest_box_on_the_circle(
    boxes: list[tuple[float, ...]], wanted: tuple[float, ...]
) -> None:
    assert join([Box(*box) for box in boxes]) == wanted


@pytest.mark.parametrize(
    ("crs", "transform", "place"),
    [
        ("EPSG:4326", Affine(1e-3, 0, 179.9, 0, -1e-3, 0.1), (-179.95, 0.05)),
        ("EPSG:4326", Affine(1e-3, 0, 184.9, 0, -1e-3, 0.1), (-175.05, 0.05)),
        ("EPSG:4326", Affine(1e-3, 0, 184.9, 0, -1e-3, 0.1), (184.95, 0.05)),
        ("EPSG:4326", Affine(1e-3, 0, -185.1, 0, -1e-3, 0.1), (174.95, 0.05)),
        ("EPSG:4326", Affine(1e-3, 0, -175.1, 0, -1e-3, 0.1), (184.95, 0.05)),
        ("EPSG:4267", Affine(1e-3, 0, 184.9, 0, -1e-3, 0.1), (-175.05, 0.05)),
        ("EPSG:3857", Affine(10, 0, 20_037_000, 0, -10, 500), (-179.997, 0.001)),
        ("EPSG:3832", Affine(10, 0, 3_339_000, 0, -10, 500), (-180.0, 0.001)),
        ("EPSG:3832", Affine(10, 0, 20_037_000, 0, -10, 500), (-29.997, 0.001)),
        ("EPSG:32660", Affine(10, 0, 833_000, 0, -10, 500), (-179.999, 0.001)),
        ("EPSG:32660", Affine(10, 0, 833_000, 0, -10, 500), (180.001, 0.001)),
        ("EPSG:32701", Affine(10, 0, 165_000, 0, -10, 10_000_000), (-180.001, -0.001)),
    ],
)
def test_find__whatever_way_the_longitude_is_told(
    crs: str, transform: Affine, place: tuple[float, float]
) -> None:
    there = ground(crs, transform)
    inside = [
        point
        for point in there.find(parse_place(*place))
        if 0 <= point[0] < 201 and 0 <= point[1] < 201
    ]
    assert len(inside) == 1
    longitude, latitude = there.degrees(*(np.array([side]) for side in inside[0]))
    assert math.remainder(longitude[0] - place[0], 360) == pytest.approx(0, abs=1e-6)
    assert latitude[0] == pytest.approx(place[1], abs=1e-6)


def test_find__no_place_on_the_other_side_of_the_earth() -> None:
    there = ground("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_000_000))
    for place in (Place(-165, 45), Place(105, 0), Place(105, -45)):
        assert not any(0 <= x < 1000 and 0 <= y < 1000 for x, y in there.find(place))


@pytest.mark.parametrize("place", [(0, 91), (541, 0), (math.nan, 0), (0, math.inf)])
def test_parse_place__refuses_what_is_not_on_earth(place: tuple[float, float]) -> None:
    with pytest.raises(SceneError, match="is not a place on Earth"):
        parse_place(*place)


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        (None, FIJI, "no coordinate reference system"),
        ('LOCAL_CS["mine",UNIT["metre",1]]', FIJI, "neither geographic nor projected"),
        ("EPSG:4978", FIJI, "neither geographic nor projected"),
        ("EPSG:5773", FIJI, "neither geographic nor projected"),
        ("IAU_2015:30100", Affine(1, 0, 0, 0, -1, 0), "cannot be turned into longitude"),
        ("+proj=eqc +R=1737400", FIJI, "cannot be turned into longitude"),
        ("EPSG:4326", FIJI, "does not fit its transform"),
        ("+proj=ortho", Affine(1e6, 0, 0, 0, -1e6, 0), "cannot be turned into longitude"),
    ],
)
def test_ground__says_that_it_lies_nowhere_on_earth(crs: Any, transform: Affine, said: str) -> None:
    nowhere = Ground(
        name="map.tif",
        crs=None if crs is None else CRS.from_user_input(crs),
        transform=transform,
    )
    with pytest.raises(SceneError, match=said) as caught:
        nowhere.area(height=10, width=10)
    assert "map.tif" in str(caught.value)
    if "fit" not in said and crs != "+proj=ortho":
        with pytest.raises(SceneError, match=said):
            nowhere.find(Place(0, 0))


@pytest.mark.parametrize("name", ["PROJ_DATA", "PROJ_LIB"])
def test_check_proj__names_the_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    earth.check_proj()

    class Lost:
        @staticmethod
        def from_epsg(code: int) -> None:
            raise CRSError("Cannot find proj.db")

    monkeypatch.setattr(earth, "CRS", Lost)
    monkeypatch.delenv("PROJ_DATA", raising=False)
    monkeypatch.delenv("PROJ_LIB", raising=False)
    with pytest.raises(SceneError, match="reinstall rasterio"):
        earth.check_proj()
    monkeypatch.setenv(name, "/other/proj")
    with pytest.raises(SceneError, match=f"{name}=/other/proj, .*; unset {name}, "):
        earth.check_proj()
