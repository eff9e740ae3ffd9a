"""The cosine of the features of every cell of a map and those of one of its places."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from deo.errors import SceneError
from deo.maps.cog import read_tags
from deo.maps.memory import MapArray
from deo.maps.metadata import MapInfo
from deo.scene.earth import Ground, Place
from deo.scene.formats import Door, open_raster

_BLOCK = 512
_BANDS_AT_ONCE = 32


class Compared(NamedTuple):
    """Similarities (height, width), what describes their map, and row and column of the place."""

    similarity: NDArray[np.float32]
    info: MapInfo
    cell: tuple[int, int]


def compare_file(features: str | os.PathLike[str], place: Place) -> Compared:
    """Compare the cells of a GeoTIFF of features with the one at `place`, a part at a time.

    Raises:
        SceneError: it cannot be read, or holds nothing there.
    """
    path = Path(features)
    try:
        with _opened(path) as file:
            info = _describe(read_tags(path) or {}, file, path.name, place)
            cell = _locate(file, place, path.name)
            return Compared(_cosine(file, _column(file, *cell, place)), info, cell)
    except RasterioError as error:
        raise SceneError(f"{path} cannot be read as a map of features: {error}") from error


def compare_held(features: MapArray, place: Place) -> Compared:
    """Compare the cells of a map in memory with the one at `place`.

    Raises:
        SceneError: it holds nothing there.
    """
    name = features.tags.get("DEO_SOURCE", "the map")
    info = _describe(features.tags, features, name, place)
    cell = _locate(features, place, name)
    reference = _known(features.array[:, cell[0], cell[1]], place)
    dot = np.einsum("chw,c->hw", features.array, reference)
    square = np.einsum("chw,chw->hw", features.array, features.array)
    tiny = np.finfo(np.float32).tiny
    length = max(float(np.linalg.norm(reference)), tiny)
    return Compared(np.clip(dot / (np.sqrt(square).clip(min=tiny) * length), -1, 1), info, cell)


def _opened(features: Path) -> Any:
    try:
        return open_raster(features, door=Door.FEATURES)
    except SceneError as error:
        raise SceneError(f"{features} cannot be read as a map of features: {error}") from error


def _locate(file: Any, place: Place, name: str) -> tuple[int, int]:
    """Row and column of the cell at `place`."""
    ground = Ground(name=name, crs=file.crs, transform=file.transform)
    try:
        for col, row in ground.find(place):
            if 0 <= row < file.height and 0 <= col < file.width:
                return int(row), int(col)
        west, south, east, north = ground.area(height=file.height, width=file.width).box
    except SceneError as error:
        raise SceneError(f"{error}, so no place on it can be told in degrees") from error
    over = " over the 180th meridian" if west > east else ""
    raise SceneError(
        f"{place.longitude:g},{place.latitude:g} is outside {name}, which reaches from "
        f"{west:.4f},{south:.4f}{over} to {east:.4f},{north:.4f} (longitude,latitude)"
    )


def _column(file: Any, row: int, col: int, place: Place) -> NDArray[np.float32]:
    """The features of one cell, (channels,)."""
    return _known(_read(file, list(file.indexes), RasterioWindow(col, row, 1, 1))[:, 0, 0], place)


def _known(values: NDArray[np.float32], place: Place) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise SceneError(
            f"there are no features at {place.longitude:g},{place.latitude:g}: nodata; "
            "choose another place"
        )
    return values


def _cosine(file: Any, reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Block by block, some bands at a time: (height, width), NaN where there are no features."""
    out = np.empty((file.height, file.width), np.float32)
    length = max(float(np.linalg.norm(reference)), np.finfo(np.float32).tiny)
    for top in range(0, file.height, _BLOCK):
        for left in range(0, file.width, _BLOCK):
            window = RasterioWindow(
                left, top, min(_BLOCK, file.width - left), min(_BLOCK, file.height - top)
            )
            dot = np.zeros((int(window.height), int(window.width)))
            square = np.zeros_like(dot)
            for first in range(0, file.count, _BANDS_AT_ONCE):
                own = reference[first : first + _BANDS_AT_ONCE]
                values = _read(file, list(range(first + 1, first + len(own) + 1)), window)
                dot += np.einsum("chw,c->hw", values, own)
                square += np.einsum("chw,chw->hw", values, values)
            cosine = dot / (np.sqrt(square).clip(min=np.finfo(np.float32).tiny) * length)
            out[top : top + dot.shape[0], left : left + dot.shape[1]] = cosine
    return np.clip(out, -1, 1)


def _read(file: Any, indexes: list[int], window: RasterioWindow) -> NDArray[np.float32]:
    """Values with the bands' scales applied, NaN for nodata."""
    stored = file.read(indexes, window=window)
    values: NDArray[np.float32] = stored.astype(np.float32)
    scales = np.array([file.scales[index - 1] for index in indexes], np.float32)
    values *= scales[:, None, None]
    if file.nodata is not None:
        values[stored == file.nodata] = np.nan
    return values


def _describe(tags: Mapping[str, str], file: Any, name: str, place: Place) -> MapInfo:
    try:
        layer, stride, _ = int(tags["DEO_LAYER"]), int(tags["DEO_STRIDE"]), tags["DEO_MODEL"]
    except (KeyError, ValueError) as error:
        raise SceneError(
            f"{name} is no map of features: give a GeoTIFF that `deo extract` wrote"
        ) from error
    return MapInfo(
        layer=layer,
        stride=stride,
        crs=file.crs,
        transform=file.transform,
        dtype="float32",
        tags={
            **tags,
            "DEO_DTYPE": "float32",
            "DEO_SIMILAR_TO": f"{place.longitude!r},{place.latitude!r}",
        },
        names=("cosine similarity",),
        source=name,
    )
