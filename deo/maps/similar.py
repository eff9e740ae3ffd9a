"""Cosine similarity of every place in a feature map to one chosen place."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from deo.errors import OutputError, SceneError
from deo.files.publish import check_folder, disk_errors, publish, scratch_folder
from deo.maps.cog import read_tags, write_cog
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


def map_similarity(
    features: Path, place: Place, output: Path, *, preview: Path | None = None
) -> float:
    """Write the cosine similarity (-1..1) of every cell's features to those at `place`.

    Args:
        features: a GeoTIFF with one band per feature, as `deo extract` writes it.
        place: its longitude may be told in -180..180 or 0..360.
        output: a `.tif` to write, one band, on the same grid.
        preview: a `.png` to draw.

    Returns:
        The share of valid cells with a similarity above 0.9.

    Raises:
        SceneError: `features` cannot be read or has no position on the Earth; `place` is outside or
            on nodata.
        OutputError: something cannot be written.
    """
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"cannot write {output}: similarity maps are GeoTIFFs, name it *.tif")
    place = parse_place(*place)
    check_proj()
    check_folder(output)
    check_apart([output, *([preview] if preview is not None else [])], [features])
    if preview is not None:
        check_picture(preview)
    try:
        with _opened(features) as file:
            info = _describe(file, features, place)
            row, col = _locate(file, place, features)
            similarity = _cosine(file, _column(file, row, col, place))
    except RasterioError as error:
        raise SceneError(f"{features} cannot be read as a map of features: {error}") from error
    plane = Plane(data=similarity)
    with disk_errors(output), scratch_folder(output.parent) as scratch:
        write_cog(plane, info, scratch / output.name, scratch / f".{output.name}")
        publish(scratch / output.name, output)
    if preview is not None:
        _draw(preview, plane, info, place, (row, col))
    return float((similarity > 0.9).sum() / max(np.isfinite(similarity).sum(), 1))


def _opened(features: Path) -> Any:
    try:
        return open_raster(features, door=Door.FEATURES)
    except SceneError as error:
        raise SceneError(f"{features} cannot be read as a map of features: {error}") from error


def _locate(file: Any, place: Place, path: Path) -> tuple[int, int]:
    """Row and column of the cell at `place`."""
    ground = Ground(name=str(path), crs=file.crs, transform=file.transform)
    try:
        for col, row in ground.find(place):
            if 0 <= row < file.height and 0 <= col < file.width:
                return int(row), int(col)
        west, south, east, north = ground.area(height=file.height, width=file.width).box
    except SceneError as error:
        raise SceneError(f"{error}, so no place on it can be told in degrees") from error
    over = " over the 180th meridian" if west > east else ""
    raise SceneError(
        f"{place.longitude:g},{place.latitude:g} is outside {path}, which reaches from "
        f"{west:.4f},{south:.4f}{over} to {east:.4f},{north:.4f} (longitude,latitude)"
    )


def _column(file: Any, row: int, col: int, place: Place) -> NDArray[np.float32]:
    """The features of one cell, (channels,)."""
    values = _read(file, list(file.indexes), RasterioWindow(col, row, 1, 1))[:, 0, 0]
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


def _describe(file: Any, path: Path, place: Place) -> MapInfo:
    tags = read_tags(path) or {}
    try:
        layer, stride, _ = int(tags["DEO_LAYER"]), int(tags["DEO_STRIDE"]), tags["DEO_MODEL"]
    except (KeyError, ValueError) as error:
        raise SceneError(
            f"{path} is no map of features: give a GeoTIFF that `deo extract` wrote"
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
        source=path.name,
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
