"""A finished output, read again as the map it holds."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window as RasterioWindow

from deo.errors import SceneError, require
from deo.maps.metadata import MapInfo, scale_transform
from deo.maps.quantise import INT8_NODATA
from deo.maps.rows import RowReader, Shape
from deo.maps.sinks import feature_sink


@dataclass(frozen=True, kw_only=True)
class StoredMap(RowReader):
    """A map as stored, (channels, height, width), read through `read[channels, rows, columns]`.

    Args:
        scales: of each channel, of whole numbers; None: the numbers are as they are.
    """

    size: Shape
    read: Callable[[tuple[slice, slice, slice]], NDArray[Any]]
    scales: NDArray[Any] | None = None

    @property
    def shape(self) -> Shape:
        return self.size

    def window(
        self, rows: slice, columns: slice, channels: slice = slice(None)
    ) -> NDArray[np.float32]:
        """(channels, rows, columns), NaN = nodata; the slices have a start and a stop."""
        stored = self.read((channels, rows, columns))
        values = stored.astype(np.float32)
        if self.scales is not None:
            values *= self.scales[channels, None, None].astype(np.float32)
            values[stored == INT8_NODATA] = np.nan
        return values

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        """(rows, channels, width), NaN = nodata."""
        values = self.window(slice(start, stop), slice(0, self.size.width), channels)
        return np.ascontiguousarray(values.transpose(1, 0, 2))

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.isfinite(self.values(start, stop, slice(1))[:, 0]).astype(np.float32)


class Finished(NamedTuple):
    """The map in an output, and what describes it: for chips, each is a cell of its own."""

    rows: StoredMap
    info: MapInfo


@contextlib.contextmanager
def open_features(path: Path) -> Iterator[Finished]:
    """Read a file of features or components that `deo extract` wrote, by what it says of itself.

    Raises:
        SceneError: it is none, or damaged.
        OutputError: its suffix is none of an output's.
    """
    sink = feature_sink(path)
    tags, lack = sink.read_tags(path), sink.damage(path)
    if lack is not None:
        raise SceneError(f"{path} is damaged: {lack}")
    try:
        if tags is None:
            raise KeyError("DEO_")
        grid, stride = json.loads(tags["DEO_GRID"]), int(tags["DEO_STRIDE"])
        info = MapInfo(
            layer=int(tags["DEO_LAYER"]),
            stride=stride,
            crs=None if grid["crs"] is None else CRS.from_string(grid["crs"]),
            transform=scale_transform(Affine(*grid["transform"]), stride),
            dtype=tags["DEO_DTYPE"],
            tags=tags,
            names=(),
            source=tags["DEO_SOURCE"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise SceneError(
            f"{path} is no map of features: give a file that `deo extract` wrote"
        ) from error
    with open_finished(path, info) as finished:
        yield finished


@contextlib.contextmanager
def open_finished(path: Path, info: MapInfo) -> Iterator[Finished]:
    """Read an output that is complete and was described by `info`."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield _chips(path, info)
    elif suffix == ".zarr":
        group = require("zarr", extra="zarr").open_group(path, mode="r")
        stored, scale = group["embeddings"], group.get("scale")
        scales = None if scale is None else scale[:]
        shape = Shape(*stored.shape)
        yield Finished(StoredMap(size=shape, read=stored.__getitem__, scales=scales), info)
    else:
        with rasterio.open(path) as file:
            yield Finished(raster_map(file, info), info)


def raster_map(file: Any, info: MapInfo) -> StoredMap:
    """The map in an open GeoTIFF, or in one of its overviews."""

    def read(part: tuple[slice, slice, slice]) -> NDArray[Any]:
        channels, rows, columns = part
        first, end, _ = channels.indices(file.count)
        box = RasterioWindow.from_slices(rows, columns)
        stored: NDArray[Any] = file.read(list(range(first + 1, end + 1)), window=box)
        return stored

    scales = np.array(file.scales) if info.dtype == "int8" else None
    return StoredMap(size=Shape(file.count, file.height, file.width), read=read, scales=scales)


def _chips(path: Path, info: MapInfo) -> Finished:
    """Embeddings of chips on a grid of cells as large as a chip."""
    pq = require("pyarrow.parquet", extra="geo")
    table = pq.read_table(path, columns=["row", "col", "embedding"])
    grid, chip = json.loads(info.tags["DEO_GRID"]), int(info.tags["DEO_CHIP"])
    channels = table.schema.field("embedding").type.list_size
    shape = Shape(channels, -(-grid["height"] // chip), -(-grid["width"] // chip))
    cells = np.full(shape, np.nan, np.float32)
    if len(table):
        flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        stored = flat.reshape(len(table), shape.channels).astype(np.float32)
        said = json.loads(pq.read_metadata(path).metadata[b"emb"])
        stored *= np.array(said.get("quantization", {}).get("scale", 1.0), np.float32)
        rows, cols = (table[name].to_numpy() // chip for name in ("row", "col"))
        cells[:, rows, cols] = stored.T
    place = scale_transform(Affine(*grid["transform"]), chip)
    coarse = replace(info, stride=chip, transform=place)
    return Finished(StoredMap(size=shape, read=cells.__getitem__), coarse)
