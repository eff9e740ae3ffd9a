"""The cells of a map's grid that labels name."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from deo.errors import DataError, SceneError, require
from deo.maps.label_files import EXTRA
from deo.maps.labels import Labels
from deo.maps.stack import FeatureStack
from deo.scene.earth import Ground
from deo.scene.window import Window

MOST_PER_CLASS = 5_000
"""Cells; of more, those with the smallest hashes of their places are taken."""

_MOST_IN_ALL = 50_000
_NONE, _CONTESTED = -1, -2
_POINT, _POLYGON = 0, 3  # shapely's numbers of the kinds of geometry
_LINES = (1, 2)
_COLLECTIONS = (4, 5, 6, 7)

Integers = NDArray[np.intp]


class LabelledCells(NamedTuple):
    """Cells of a grid with the number of their class, in order of rows, then columns; (n,)."""

    rows: Integers
    columns: Integers
    numbers: Integers
    notes: tuple[str, ...]


def lay(stack: FeatureStack, labels: Labels) -> LabelledCells:
    """The cells that labels name, at most `MOST_PER_CLASS` of a class; one cell is one example.

    A cell that labels of two classes name is none of either. A polygon smaller than a cell names
    the cell that it lies in.

    Raises:
        SceneError: the map has no position on the Earth.
        DataError: labels are neither points nor polygons, or none is on the map.
    """
    shapely = require("shapely", extra=EXTRA)
    shapes, numbers = _on_grid(stack, labels)
    _, height, width = stack.shape
    kinds = shapely.get_type_id(shapes)
    small = (kinds == _POLYGON) & (shapely.area(shapes) < 1)
    points = (kinds == _POINT) | small
    shapes[small] = shapely.centroid(shapes[small])
    xy = shapely.get_coordinates(shapes[points])
    columns, rows = np.floor(xy).T
    near = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    west, north, east, south = shapely.bounds(shapes[~points]).reshape(-1, 4).T
    crossing = (east > 0) & (west < width) & (south > 0) & (north < height)
    laid = _Laid(
        rows=rows[near].astype(np.intp),
        columns=columns[near].astype(np.intp),
        of_point=numbers[points][near],
        polygons=shapes[~points][crossing],
        of_polygon=numbers[~points][crossing],
    )
    notes = []
    if labels.nameless:
        notes.append(f"{said(labels.nameless, 'label has', 'labels have')} no class or no place.")
    outside = len(shapes) - int(near.sum()) - int(crossing.sum())
    if outside == len(shapes):
        raise DataError(_elsewhere(stack, labels))
    if outside:
        notes.append(f"{said(outside, 'label lies', 'labels lie')} outside the map.")
    return _collect(stack.windows(), laid, width, len(labels.classes), notes)


def _elsewhere(stack: FeatureStack, labels: Labels) -> str:
    """What is said where all labels are outside the map."""
    info, (_, height, width) = stack.info, stack.shape
    ground = Ground(name=info.source, crs=info.crs, transform=info.transform)
    west, south, east, north = ground.area(height=height, width=width).box
    return (
        f"none of the labels of {labels.source} lies on the map of {info.source}, which reaches "
        f"from {west:.4f},{south:.4f} to {east:.4f},{north:.4f} (longitude,latitude)"
    )


class _Laid(NamedTuple):
    """Points as the cells around them, and polygons in columns and rows, with their classes."""

    rows: Integers
    columns: Integers
    of_point: Integers
    polygons: NDArray[Any]
    of_polygon: Integers


def _on_grid(stack: FeatureStack, labels: Labels) -> tuple[NDArray[Any], Integers]:
    """Single points and polygons in columns and rows of the grid, with their classes."""
    shapely = require("shapely", extra=EXTRA)
    shapes, numbers = labels.geometries, labels.numbers
    while np.isin(shapely.get_type_id(shapes), _COLLECTIONS).any():
        shapes, origin = shapely.get_parts(shapes, return_index=True)
        numbers = numbers[origin]
    if np.isin(shapely.get_type_id(shapes), _LINES).any():
        raise DataError(f"{labels.source} holds lines; labels are points or polygons")
    shapes = shapely.transform(shapely.force_2d(shapes), _to_pixels(stack, labels))
    shapes[~np.isfinite(shapely.bounds(shapes)).all(axis=1)] = None  # beyond the projection
    return shapes, numbers


def _to_pixels(stack: FeatureStack, labels: Labels) -> Callable[[Any], Any]:
    """What takes the labels' coordinates (n, 2) to columns and rows."""
    if stack.info.crs is None:
        raise SceneError(
            f"the map of {stack.info.source} has no coordinate reference system, so that no label "
            "can be laid on it"
        )
    pyproj = require("pyproj", extra=EXTRA)
    try:
        forth = pyproj.Transformer.from_crs(
            labels.crs, pyproj.CRS.from_wkt(stack.info.crs.to_wkt()), always_xy=True
        )
    except pyproj.exceptions.ProjError as error:
        raise DataError(
            f"the labels of {labels.source} cannot be laid on the map of {stack.info.source}: "
            f"{error}"
        ) from error
    back = ~stack.info.transform

    def pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = forth.transform(*xy.T)
        return np.column_stack((back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f))

    return pixels


def _collect(
    windows: Sequence[Window], laid: _Laid, width: int, count: int, notes: list[str]
) -> LabelledCells:
    """Window by window the cells of each class, of which the hashes choose where they are many."""
    most = min(MOST_PER_CLASS, _MOST_IN_ALL // count)
    kept = _Kept(np.empty(0, np.intp), np.empty(0, np.intp))
    contested = named = 0
    points = _split(windows, laid.rows, laid.columns)
    tree = require("shapely", extra=EXTRA).STRtree(laid.polygons)
    for number, window in enumerate(windows):
        owners = _owners(window, laid, points.get(number), tree)
        if owners is None:
            continue
        contested += int((owners == _CONTESTED).sum())
        rows, columns = np.nonzero(owners >= 0)
        named += len(rows)
        keys = (rows + window.row) * width + columns + window.col
        kept = _thin(kept.join(keys, owners[rows, columns]), most)
    if contested:
        are = said(contested, "cell is", "cells are")
        notes.append(f"{are} labelled as more than one class and left out.")
    if named > len(kept.keys):
        notes.append(f"{named:,} cells are labelled, of which {len(kept.keys):,} are used.")
    order = np.argsort(kept.keys)
    rows, columns = np.divmod(kept.keys[order], width)
    return LabelledCells(rows, columns, kept.numbers[order], tuple(notes))


class _Kept(NamedTuple):
    """Cells by their places in the grid, counted along its rows, with their classes."""

    keys: Integers
    numbers: Integers

    def join(self, keys: Integers, numbers: NDArray[Any]) -> "_Kept":
        return _Kept(
            np.concatenate((self.keys, keys)), np.concatenate((self.numbers, numbers)).astype(int)
        )


def _thin(cells: _Kept, most: int) -> _Kept:
    """At most so many cells of each class: those whose hashes are smallest, in any order given."""
    if np.bincount(cells.numbers, minlength=1).max() <= most:
        return cells
    order = np.lexsort((_hashed(cells.keys), cells.numbers))
    numbers = cells.numbers[order]
    rank = np.arange(len(numbers)) - np.searchsorted(numbers, numbers)
    chosen = order[rank < most]
    return _Kept(cells.keys[chosen], cells.numbers[chosen])


def _hashed(keys: Integers) -> NDArray[np.uint64]:
    """SplitMix64 of Steele, Lea and Flood 2014: chance that depends on the place alone."""
    value = (keys.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _owners(window: Window, laid: _Laid, points: Integers | None, tree: Any) -> Any:
    """The class of each cell of a window (height, width), or that it has none, or several."""
    shapely = require("shapely", extra=EXTRA)
    box = shapely.box(window.col, window.row, window.col + window.width, window.row + window.height)
    near = np.sort(tree.query(box))
    if points is None and not len(near):
        return None
    points = np.empty(0, np.intp) if points is None else points
    owners = np.full((window.height, window.width), _NONE, np.int16)
    to_window = Affine.translation(window.col, window.row)
    for number in np.union1d(laid.of_point[points], laid.of_polygon[near]):
        mask = np.zeros(owners.shape, np.uint8)
        own = laid.polygons[near[laid.of_polygon[near] == number]]
        if len(own):
            rasterize(own.tolist(), out=mask, transform=to_window, default_value=1)
        chosen = points[laid.of_point[points] == number]
        mask[laid.rows[chosen] - window.row, laid.columns[chosen] - window.col] = 1
        free = owners == _NONE
        owners[mask.astype(bool)] = np.where(free, number, _CONTESTED)[mask.astype(bool)]
    return owners


def said(number: int, one: str, many: str) -> str:
    """A number with its noun and verb, for notes."""
    return f"{number:,} {one if number == 1 else many}"


def by_window(windows: Sequence[Window], rows: Integers, columns: Integers) -> Iterator[Integers]:
    """The indices of the cells in each window that holds any."""
    yield from (inside for _, inside in sorted(_split(windows, rows, columns).items()))


def _split(windows: Sequence[Window], rows: Integers, columns: Integers) -> dict[int, Integers]:
    """Indices of the cells in each window that holds any, by the window's number."""
    if not len(rows):
        return {}
    down = np.unique([window.row for window in windows])
    along = np.unique([window.col for window in windows])
    of_cell = (np.searchsorted(down, rows, "right") - 1) * len(along)
    of_cell += np.searchsorted(along, columns, "right") - 1
    order = np.argsort(of_cell, kind="stable")
    numbers, starts = np.unique(of_cell[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True))
