"""Closed rings of longitude and latitude, cut at the 180th meridian."""

from typing import Any

import numpy as np

from deo.scene.earth import Area, geojson
from deo.scene.rings import cut_at_180


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


def test_side__two_pieces_stay_apart() -> None:
    ring = np.array(
        [(179, 0), (181, 1), (179, 2), (181, 3), (179, 4), (170, 4), (170, 0), (179, 0)], np.float64
    )
    area = Area(cut_at_180(ring))
    check_shape(area)
    assert len(area.rings) == 3
    east = sorted((ring[:, 1].min(), ring[:, 1].max()) for ring in area.rings if ring[0, 0] < 0)
    assert east == [(0.5, 1.5), (2.5, 3.5)]
