"""Where the columns and rows of a raster lie on the Earth, in degrees.

Longitudes are a circle, told in -180..180. An area over the 180th meridian is cut there, and its
box has a western side greater than its eastern one (RFC 7946, sections 3.1.9 and 5.2). An area
around a pole reaches along the 180th meridian up to that pole.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # transformations raise it bare
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as reproject

from deo.errors import SceneError
from deo.scene.rings import TOUCHING, Floats, by_the_pole, cut_at_180, thin_rings

STEPS = 64
"""Segments at most of each side of an outline: 0.1 m beside the side of a Sentinel-2 tile."""

_DEGREES = "EPSG:4326"
_BEYOND_POLE = 1.0  # degrees that a global grid of coarse pixels may reach past a pole
_FARTHEST = 540.0  # degrees: one turn beyond 180
_SAME_PLACE = 1e-5  # degrees, 1 m
_METRES_PER_DEGREE = 111_320.0


class Place(NamedTuple):
    """A point on Earth, in degrees."""

    longitude: float
    latitude: float


class Degrees(NamedTuple):
    """Longitudes (-180..180) and latitudes of points, arrays of one shape."""

    longitude: Floats
    latitude: Floats


class Box(NamedTuple):
    """Around a part of the Earth, in degrees; `west` > `east` over the 180th meridian."""

    west: float
    south: float
    east: float
    north: float


class Area(NamedTuple):
    """A part of the Earth: closed rings (n, 2) of longitude and latitude, counter-clockwise."""

    rings: tuple[Floats, ...]

    @property
    def box(self) -> Box:
        return join([Box(*ring.min(axis=0), *ring.max(axis=0)) for ring in self.rings])


def check_proj() -> None:
    """Refuse to work with another installation's database of reference systems.

    Raises:
        SceneError: PROJ cannot use the database that the environment points to.
    """
    try:
        with rasterio.Env():  # which logs what GDAL would print
            CRS.from_epsg(4326)
    except CRSError as error:
        names = [name for name in ("PROJ_DATA", "PROJ_LIB") if name in os.environ]
        advice = "reinstall rasterio"
        if names:
            said = " and ".join(f"{name}={os.environ[name]}" for name in names)
            advice = (
                f"the environment sets {said}, which belongs to another installation; unset "
                f"{' and '.join(names)}, so that rasterio uses its own"
            )
        raise SceneError(
            f"PROJ cannot use its database of coordinate reference systems ({error}); {advice}"
        ) from error


def on_circle(longitude: Any) -> Any:
    """Longitudes in -180..180; those that are there already keep their bits."""
    turned = (np.asarray(longitude) + 180.0) % 360.0 - 180.0
    return np.where(np.abs(longitude) <= 180.0, longitude, turned)


def parse_place(longitude: float, latitude: float) -> Place:
    """A place, with its longitude in -180..180.

    Raises:
        SceneError: no such place is on Earth.
    """
    if not (abs(latitude) <= 90 and abs(longitude) <= _FARTHEST):
        raise SceneError(
            f"{longitude:g},{latitude:g} is not a place on Earth; give longitude,latitude in "
            "degrees, latitudes in -90..90, longitudes in -180..180 or 0..360"
        )
    return Place(float(on_circle(longitude)), float(latitude))


def join(boxes: Sequence[Box]) -> Box:
    """The smallest box around at least one other."""
    west, south, east, north = np.array(boxes, np.float64).T
    east = east + 360.0 * (west > east)
    order = np.argsort(west)
    west, reached = west[order], np.maximum.accumulate(east[order])
    reached = np.maximum(reached, reached[-1] - 360.0)  # by one over 180
    gaps = np.append(west[1:], west[0] + 360.0) - reached  # eastward of each box
    widest = len(gaps) - 1 if gaps[-1] >= gaps.max() else int(gaps.argmax())
    sides = np.array((-180.0, 180.0))
    if gaps[widest] > 0:
        sides = on_circle(np.array((west[(widest + 1) % len(west)], reached[widest])))
    return Box(float(sides[0]), float(south.min()), float(sides[1]), float(north.max()))


@dataclass(frozen=True, kw_only=True)
class Ground:
    """How a raster lies on the Earth.

    Args:
        name: of the raster, for messages.
        crs: a `rasterio.crs.CRS`, or None.
        transform: (column, row) of pixel corners to coordinates.
    """

    name: str
    crs: Any
    transform: Affine

    def degrees(self, cols: Floats, rows: Floats) -> Degrees:
        """Where points of the raster lie.

        Raises:
            SceneError: nothing says where on Earth.
        """
        t = self.transform
        x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
        longitude, latitude = self._convert(self._known, _DEGREES, x.ravel(), y.ravel())
        outside = np.abs(latitude) > 90 + _BEYOND_POLE
        outside |= np.abs(longitude) > _FARTHEST
        if outside.any():
            at = int(outside.argmax())
            raise SceneError(
                f"{self.name} has a coordinate reference system that does not fit its transform: "
                f"it would reach to longitude {longitude[at]:g}, latitude {latitude[at]:g}"
            )
        return Degrees(
            on_circle(longitude).reshape(x.shape), np.clip(latitude, -90, 90).reshape(x.shape)
        )

    def outlines(self, boxes: NDArray[Any], *, steps: int = STEPS) -> list[Area]:
        """The ground that boxes (n, 4) of left, top, right, bottom cover, in pixels.

        Sides follow the ground, in as many segments, at most `steps`, as it takes to keep to
        0.1 m. Where nothing bends, that is one.

        Raises:
            SceneError: nothing says where on Earth.
        """
        left, top, right, bottom = (side[:, None] for side in boxes.astype(np.float64).T)
        if self.transform.determinant > 0:  # rows run north: begin below to go counter-clockwise
            top, bottom = bottom, top
        share = np.arange(steps) / steps
        still = np.zeros(steps)
        down, along = (bottom - top) * share, (right - left) * share
        cols = (left + still, left + along, right + still, right - along, left)
        rows = (top + down, bottom + still, bottom - down, top + still, top)
        rings = np.stack(self.degrees(np.concatenate(cols, 1), np.concatenate(rows, 1)), axis=2)
        polar = np.abs(rings[:, :-1, 1]) > 90.0 - TOUCHING
        polar &= ~np.roll(polar, 1, axis=1) & ~np.roll(polar, -1, axis=1)
        if polar.any():  # a side of these runs through a pole
            return [Area(cut_at_180(by_the_pole(*pair))) for pair in zip(rings, polar, strict=True)]
        rings[:, 1:, 0] -= 360.0 * np.rint(np.diff(rings[..., 0]) / 360.0).cumsum(axis=1)
        return [Area(cut_at_180(ring)) for ring in thin_rings(rings, steps)]

    def area(self, *, height: int, width: int) -> Area:
        """The ground of the whole raster.

        Raises:
            SceneError: nothing says where on Earth.
        """
        return self.outlines(np.array([[0, 0, width, height]]))[0]

    def find(self, place: Place) -> list[tuple[float, float]]:
        """Column and row of a place, once for each turn that leads to it.

        Grids may tell longitudes in 0..360, or go on beyond the end of a map of the world.

        Raises:
            SceneError: nothing says where on Earth the raster lies.
        """
        known = self._known
        try:
            (x,), (y,) = self._convert(_DEGREES, known, *np.array([place]).T)
        except SceneError:
            self.degrees(np.zeros(1), np.zeros(1))  # raises where no place has a way
            return []
        points = [~self.transform * (float(x), float(y))]
        # a degree east, or west where a map ends on that side
        beside = np.array([place, place]).T + np.array([[1.0, -1.0], [0.0, 0.0]])
        try:
            xs, ys = self._convert(_DEGREES, known, *beside)
        except SceneError:
            return points  # a projection that does not hold all of the Earth
        degree = min(complex(xs[0] - x, ys[0] - y), complex(x - xs[1], y - ys[1]), key=abs)
        for turn in (1, -1):  # along maps on which a degree is of one length everywhere
            other = complex(x, y) + 360.0 * turn * degree
            point = ~self.transform * (other.real, other.imag)
            if self._is_at(point, place):
                points.append(point)
        return points

    def _is_at(self, point: tuple[float, float], place: Place) -> bool:
        try:
            longitude, latitude = self.degrees(*(np.array([side]) for side in point))
        except SceneError:
            return False
        east = abs(float(on_circle(longitude[0] - place.longitude)))
        return bool(max(east, abs(latitude[0] - place.latitude)) < _SAME_PLACE)

    @property
    def _known(self) -> Any:
        """The reference system, which must be one of places on the ground."""
        if self.crs is None:
            raise SceneError(f"{self.name} has no coordinate reference system")
        if not (self.crs.is_geographic or self.crs.is_projected):
            raise SceneError(self._no_way("it is neither geographic nor projected"))
        return self.crs

    def _convert(self, source: Any, target: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        try:
            first, second = (np.array(axis) for axis in reproject(source, target, x, y))
        except (CPLE_BaseError, CRSError) as error:
            raise SceneError(self._no_way(str(error).partition(" from '")[0])) from error
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise SceneError(self._no_way("some of its points are beyond the projection"))
        return first, second

    def _no_way(self, reason: str) -> str:
        return (
            f"the coordinate reference system of {self.name} cannot be turned into longitude and "
            f"latitude ({self.crs.to_string()[:60]}: {reason})"
        )


class Metres(NamedTuple):
    """How long on the ground a unit along each axis of a reference system is."""

    x: float
    y: float


def metres_per_unit(crs: Any, *, y: float) -> Metres | None:
    """Of a reference system at its coordinate `y`; None where it is not known."""
    if crs is None:
        return None
    try:
        factor = float(crs.units_factor[1])
        if not crs.is_geographic:
            return Metres(factor, factor)
        Ground(name="", crs=crs, transform=Affine.identity()).degrees(np.zeros(1), np.zeros(1))
    except (CRSError, SceneError):  # no unit, or degrees of another body
        return None
    metres = math.degrees(factor) * _METRES_PER_DEGREE
    return Metres(metres * max(math.cos(y * factor), 1e-6), metres)


def geojson(area: Area, *, digits: int) -> dict[str, Any]:
    """The geometry of an area, with its numbers rounded."""
    polygons: list[Sequence[Any]] = [
        [[[round(float(x), digits), round(float(y), digits)] for x, y in ring]]
        for ring in area.rings
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
