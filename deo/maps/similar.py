"""Cosine similarity of every place in a feature map to one chosen place."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from deo.errors import OutputError, SceneError
from deo.files.publish import check_folder, disk_errors, publish, scratch_folder
from deo.maps.cog import read_tags, write_cog
from deo.maps.memory import MapArray
from deo.maps.metadata import MapInfo
from deo.maps.picture import PANEL, Panel, compose, ramp
from deo.maps.preview import check_picture, metres_across, write_picture
from deo.maps.rows import Shape
from deo.maps.sinks import check_apart
from deo.scene.earth import Ground, Place, check_proj, parse_place
from deo.scene.formats import Door, open_raster
from deo.scene.grid import upright

_BLOCK = 512
_BANDS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A map of one channel held in memory, (height, width) float32, NaN = nodata."""

    data: NDArray[np.float32]

    @property
    def shape(self) -> Shape:
        return Shape(1, *self.data.shape)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        return self.data[start:stop, None]

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.isfinite(self.data[start:stop]).astype(np.float32)

    def blocks(self, budget: int = 0) -> Iterator[tuple[int, NDArray[np.float32]]]:
        yield 0, self.values(0, len(self.data))


class _Compared(NamedTuple):
    """Similarities (height, width), what describes their map, and row and column of the place."""

    similarity: NDArray[np.float32]
    info: MapInfo
    cell: tuple[int, int]


def similar(
    features: str | os.PathLike[str] | MapArray,
    place: tuple[float, float],
    output: str | os.PathLike[str] | None = None,
    *,
    preview: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> MapArray:
    """Compare every cell of a map of features with one place: `deo.similar`.

    Args:
        features: a GeoTIFF that `deo extract` wrote, or what `deo.extract` returned.
        place: longitude, in -180..180 or 0..360, and latitude in degrees.
        output: a `.tif` to write, one band, on the same grid; None: nothing is written.
        preview: a `.png` to draw.
        overwrite: replace an output that is there.

    Returns:
        A map of one channel: the cosine of the features of each cell and those of the place, from
        -1 to 1; NaN where there are no features.

    Raises:
        SceneError: `features` cannot be read or has no position on the Earth; `place` is outside or
            on nodata.
        OutputError: something cannot be written, or exists and may not be replaced.

    Example:
        >>> likeness = deo.similar("features.tif", (11.35, 44.49), "map.tif")  # doctest: +SKIP
    """
    target = None if output is None else Path(output)
    picture = None if preview is None else Path(preview)
    if target is not None:
        if target.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {target}: similarity maps are GeoTIFFs, name it *.tif")
        check_folder(target)
    if picture is not None:
        check_picture(picture)
    if not isinstance(features, MapArray):
        check_apart([path for path in (target, picture) if path is not None], [features])
    if target is not None and target.exists() and not overwrite:
        raise OutputError(f"{target} exists; use --overwrite (overwrite=True) to replace it")
    sought = parse_place(*place)
    check_proj()
    compare = _compare_held if isinstance(features, MapArray) else _compare_file
    similarity, info, cell = compare(features, sought)
    plane = Plane(data=similarity)
    if target is not None:
        with disk_errors(target), scratch_folder(target.parent) as scratch:
            write_cog(plane, info, scratch / target.name, scratch / f".{target.name}")
            publish(scratch / target.name, target)
    if picture is not None:
        _draw(picture, plane, info, sought, cell)
    return MapArray(
        array=similarity[None],
        valid=plane.valid(0, len(similarity)),
        transform=info.transform,
        crs=info.crs,
        names=info.names,
        tags=info.tags,
    )


def map_similarity(
    features: Path, place: Place, output: Path, *, preview: Path | None = None
) -> float:
    """Write the map of `similar`, over one that is there.

    Returns:
        The share of valid cells with a similarity above 0.9.
    """
    likeness = similar(features, place, output, preview=preview, overwrite=True).array
    return float((likeness > 0.9).sum() / max(np.isfinite(likeness).sum(), 1))


def _compare_file(features: str | os.PathLike[str], place: Place) -> _Compared:
    path = Path(features)
    try:
        with _opened(path) as file:
            info = _describe(read_tags(path) or {}, file, path.name, place)
            cell = _locate(file, place, path.name)
            return _Compared(_cosine(file, _column(file, *cell, place)), info, cell)
    except RasterioError as error:
        raise SceneError(f"{path} cannot be read as a map of features: {error}") from error


def _compare_held(features: MapArray, place: Place) -> _Compared:
    name = features.tags.get("DEO_SOURCE", "the map")
    info = _describe(features.tags, features, name, place)
    cell = _locate(features, place, name)
    reference = _known(features.array[:, cell[0], cell[1]], place)
    dot = np.einsum("chw,c->hw", features.array, reference)
    square = np.einsum("chw,chw->hw", features.array, features.array)
    tiny = np.finfo(np.float32).tiny
    length = max(float(np.linalg.norm(reference)), tiny)
    return _Compared(np.clip(dot / (np.sqrt(square).clip(min=tiny) * length), -1, 1), info, cell)


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


def _draw(path: Path, plane: Plane, info: MapInfo, place: Place, cell: tuple[int, int]) -> None:
    height, width = plane.data.shape
    step = -(-max(height, width) // PANEL)
    shown = plane.data[::step, ::step]
    known = plane.data[np.isfinite(plane.data)]
    low, high = float(np.percentile(known, 2)), float(known.max())
    colours = ramp(np.linspace(low, high, 128, dtype=np.float32)[None], low, high)[0]
    panel = Panel(
        image=ramp(shown, low, high),
        title=f"Similarity to {place.longitude:.5f}, {place.latitude:.5f}",
        ramp=(colours, f"{low:.2f} or less", f"{high:.2f}"),
        notes=(f"cosine of features, {info.tags['DEO_MODEL']}, layer {info.layer}", info.source),
        mark=((cell[1] + 0.5) / width, (cell[0] + 0.5) / height),
    )
    turn = upright(info.transform)
    across = metres_across(info.crs, info.transform, height=height, width=width, turn=turn)
    write_picture(compose([panel], metres_across=across, turn=turn), path)
