"""Class probabilities on disk -> a class map: one byte per pixel, a colour table, a COG."""

import colorsys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy as raster_copy
from rasterio.windows import Window as RasterioWindow

from deo.errors import ModelError
from deo.files.publish import Room, disk_errors
from deo.maps.cog import CLASS_DTYPE, block_side, overview_factors, pyramid
from deo.maps.metadata import MapInfo
from deo.maps.rows import RowReader, Shape

NODATA = 255
_GOLDEN = 0.618034  # steps of the golden ratio around the colour circle: neighbours differ


def colours(count: int) -> dict[int, tuple[int, int, int, int]]:
    """Red, green, blue, opacity of each class; class 0 of two is grey, nodata transparent."""
    table = {}
    for label in range(count):
        red, green, blue = colorsys.hsv_to_rgb(0.6 + label * _GOLDEN, 0.65, 0.9 - 0.3 * (label % 2))
        table[label] = (round(255 * red), round(255 * green), round(255 * blue), 255)
    if count == 2:
        table |= {0: (225, 225, 225, 255), 1: (200, 40, 60, 255)}
    return table | {NODATA: (0, 0, 0, 0)}


def check(info: MapInfo) -> None:
    """Refuse more classes than a map of bytes can hold before anything is computed.

    Raises:
        ModelError: there are more.
    """
    if len(info.names) > NODATA:
        raise ModelError(
            f"{len(info.names)} classes do not fit a map of bytes; {NODATA} are the most"
        )


def room(shape: Shape) -> Room:
    """Bytes that writing a class map takes; how well it is compressed depends on the map."""
    stored = pyramid(shape)
    return Room(scratch=stored.padded, output=stored.cells)


def write_class_map(
    rows: RowReader,
    info: MapInfo,
    target: Path,
    scratch: Path,
    *,
    chosen: Mapping[str, tuple[int, int, int]] = MappingProxyType({}),
) -> None:
    """Write the most probable class of every pixel as a COG, by way of `scratch`.

    Args:
        rows: (rows, classes, width) probabilities, NaN where there are no data.
        info: place, tags and class names.
        chosen: colours of some classes, by name; the others have those of `colours`.

    Raises:
        OutputError: the disk refuses.
    """
    table = colours(rows.shape.channels)
    table |= {at: (*chosen[name], 255) for at, name in enumerate(info.names) if name in chosen}
    with disk_errors(target):
        _write_labels(rows, info, scratch, table)
        factors = overview_factors(max(rows.shape.height, rows.shape.width))
        if factors:
            with rasterio.open(scratch, "r+", driver="GTiff") as out:
                out.build_overviews(factors, Resampling.nearest)
        block = block_side(rows.shape)
        raster_copy(
            scratch,
            target,
            driver="GTiff",
            copy_src_overviews=True,
            tiled=True,
            blockxsize=block,
            blockysize=block,
            compress="zstd",
            predictor=2,
            photometric="palette",
        )
        scratch.unlink()


def _write_labels(
    rows: RowReader, info: MapInfo, path: Path, table: dict[int, tuple[int, int, int, int]]
) -> None:
    """Write the classes with their names and colours, one row after the other, uncompressed."""
    _, height, width = rows.shape
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": height,
        "width": width,
        "dtype": CLASS_DTYPE,
        "nodata": NODATA,
        "crs": info.crs,
        "transform": info.transform,
        "blockysize": 1,
        "photometric": "palette",
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write_colormap(1, table)
        out.update_tags(**info.tags)
        out.update_tags(1, **{f"CLASS_{label}": name for label, name in enumerate(info.names)})
        for start, values in rows.blocks():
            window = RasterioWindow(0, start, width, len(values))
            out.write(labels(values), 1, window=window)


def labels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(rows, classes, width) -> (rows, width); `NODATA` where a probability is NaN."""
    empty = np.isnan(values).any(1)
    largest = np.nan_to_num(values, nan=0).argmax(1)
    return np.where(empty, NODATA, largest).astype(np.uint8)
