"""Outlines on the Earth as closed rings of longitude and latitude: thinned, cut, led around poles.

Rings are arrays (n, 2) in degrees, closed (the last point is the first), with the inside on the
left. GeoJSON wants longitudes in -180..180 and areas cut at the 180th meridian (RFC 7946, 3.1.9).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOUCHING = 1e-9
"""Degrees that rounding moves a point beside the 180th meridian or a pole."""

_CLOSE = 1e-6  # degrees, 0.1 m: what an outline may differ from the true sides

Floats = NDArray[np.float64]


def thin_rings(rings: Floats, steps: int) -> Floats:
    """Of closed rings (n, 4 x steps + 1, 2) every step-th point, as few as `_CLOSE` allows."""
    count = 1
    while count < steps:
        step = steps // count
        start, end = rings[:, :-1:step, None], rings[:, step::step, None]
        inside = rings[:, :-1].reshape(len(rings), -1, step, 2)
        chord, way = end - start, inside - start
        across = np.abs(chord[..., 0] * way[..., 1] - chord[..., 1] * way[..., 0])
        if (across <= _CLOSE * np.maximum(np.hypot(chord[..., 0], chord[..., 1]), _CLOSE)).all():
            break
        count *= 2
    return rings[:, :: steps // count]


def cut_at_180(ring: Floats) -> tuple[Floats, ...]:
    """Parts in -180..180 of a closed ring whose longitudes go on beyond 180."""
    turns = round((ring[-1, 0] - ring[0, 0]) / 360.0)
    if turns:
        ring = _over_the_pole(ring, turns)
    ring = ring.copy()
    west = ring[:, 0].min()
    if not turns and ring[:, 0].max() - west >= 360.0 - TOUCHING:
        # once around is all there is, wherever its sides are
        ring[:, 0] = np.minimum(ring[:, 0] - west, 360.0) - 180.0
    else:
        ring[:, 0] -= 360.0 * math.floor((west + 180.0 + TOUCHING) / 360.0)
    parts, rest = [], [ring]
    while rest:
        beyond = []
        for piece in rest:
            piece[np.abs(piece[:, 0] - 180.0) < TOUCHING, 0] = 180.0
            piece[np.abs(piece[:, 0] + 180.0) < TOUCHING, 0] = -180.0
            if piece[:, 0].max() <= 180.0:
                parts.append(piece)
                continue
            east = piece[:-1, 0] > 180.0
            parts += _side(piece, ~east)
            beyond += [part - (360.0, 0.0) for part in _side(piece, east)]
        rest = beyond
    return tuple(parts)


def by_the_pole(ring: Floats, polar: NDArray[np.bool_]) -> Floats:
    """A closed ring with unbroken longitudes, where some points are poles, whose own means nothing.

    A ring has its inside on its left: it passes the north pole going west, the south pole east.
    """
    start = int(np.flatnonzero(~polar)[0])
    points, polar = np.roll(ring[:-1], -start, axis=0), np.roll(polar, -start)
    out = [points[0]]
    for index in range(1, len(points) + 1):
        last, (longitude, latitude) = out[-1][0], points[index % len(points)]
        if polar[index % len(points)]:
            following = points[(index + 1) % len(points), 0]
            if latitude > 0:
                passed = last - (last - following) % 360.0
            else:
                passed = last + (following - last) % 360.0
            out += [np.array((last, latitude)), np.array((passed, latitude))]
        else:
            out.append(
                np.array((longitude - 360.0 * np.rint((longitude - last) / 360.0), latitude))
            )
    return np.stack(out)


def _over_the_pole(ring: Floats, turns: int) -> Floats:
    """A ring around a pole, opened at the 180th meridian and led along it to the pole.

    A ring has its inside on its left: going east it is around the north pole.
    """
    lap = np.floor((ring[:, 0] + 180.0) / 360.0)
    crossings = np.flatnonzero(np.diff(lap))
    at = crossings[np.abs(ring[crossings, 1]).argmax()]  # nothing of the ring is nearer the pole
    (x0, y0), (x1, y1) = ring[at], ring[at + 1]
    seam = 360.0 * max(lap[at], lap[at + 1]) - 180.0
    latitude = y0 + (y1 - y0) * (seam - x0) / (x1 - x0)
    after = np.concatenate((ring[at + 1 : -1], ring[: at + 1] + np.array((360.0 * turns, 0.0))))
    pole = math.copysign(90.0, turns)
    end = seam + 360.0 * turns
    return np.concatenate(
        (
            [[seam, latitude]], after,
            [[end, latitude], [end, pole], [seam, pole], [seam, latitude]],
        )
    )  # fmt: skip


def _side(ring: Floats, within: NDArray[np.bool_]) -> list[Floats]:
    """The closed parts of a closed ring on one side of longitude 180.

    Args:
        within: (n - 1,), which points of the ring are on that side; not all, and not none.

    Where the ring crosses the meridian several times, every second stretch between crossings is
    inside: a part that ends at one end of such a stretch goes on at the other.
    """
    points = ring[:-1]
    start = int(np.flatnonzero(within & ~np.roll(within, 1))[0])
    points, within = np.roll(points, -start, axis=0), np.roll(within, -start)
    following = np.roll(points, -1, axis=0)
    crossing = np.flatnonzero(within != np.roll(within, -1))  # between a point and the next
    share = (180.0 - points[crossing, 0]) / (following[crossing, 0] - points[crossing, 0])
    latitude = points[crossing, 1] + share * (following[crossing, 1] - points[crossing, 1])
    # crossings 0, 2, ... leave this side and 1, 3, ... come back; chain k ends at crossing 2k
    rank = np.empty(len(crossing), np.intp)
    order = np.argsort(latitude, kind="stable")
    rank[order] = np.arange(len(order))
    partner = order[rank ^ 1]
    chains, begin = [], 0
    for number in range(0, len(crossing), 2):
        end = int(crossing[number])
        chains.append(points[begin : end + 1])
        begin = int(crossing[number + 1]) + 1
    parts, left = [], set(range(len(chains)))
    while left:
        chain = min(left)
        pieces: list[Any] = []
        while chain in left:
            left.remove(chain)
            come = latitude[2 * chain - 1]  # chain 0 begins at the last crossing
            pieces += [[(180.0, come)], chains[chain], [(180.0, latitude[2 * chain])]]
            chain = (int(partner[2 * chain]) + 1) // 2 % len(chains)
        parts.append(_closed(np.concatenate(pieces)))
    return [part for part in parts if len(part) > 3]


def _closed(points: Floats) -> Floats:
    """A closed ring without points that repeat the one before."""
    moved = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1) > 0
    kept = points[moved]
    return np.concatenate((kept, kept[:1]))
