"""Cloud-optimised GeoTIFF: tiled, compressed, overviews inside, headers first.

Bands are stored one after the other: a tile of all 1024 channels would be a gigabyte. GDAL's COG
driver can do that from 3.11 on only, so the file is laid out as rio-cogeo does: a tiled scratch
file with overviews, then one ordered copy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.shutil import copy as raster_copy
from rasterio.windows import Window as RasterioWindow

from deo.errors import OutputError, SceneError
from deo.files.publish import Room, asked_for, disk_errors
from deo.maps.metadata import MapInfo
from deo.maps.quantise import COMPRESSED, INT8_NODATA, ITEM_BYTES, fit_scales, to_float16, to_int8
from deo.maps.rows import RowReader, Shape
from deo.maps.tiff import missing_part
from deo.scene.formats import Door, open_raster

BLOCK = 512
CLASS_DTYPE = "uint8"
_BUDGET = 32 * 2**20
_ZSTD_LEVEL = 1  # features are nearly incompressible: level 9 took 4 times as long for 1 % less


def write_cog(rows: RowReader, info: MapInfo, target: Path, scratch: Path) -> None:
    """Write one layer's map to `target`, using the path `scratch` in between.

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    scales = fit_scales(rows) if info.dtype == "int8" else None
    profile = _profile(rows, info)
    with disk_errors(target), _one_file():
        for path in (scratch, target):  # GDAL would delete whatever a VRT of that name lists
            path.unlink(missing_ok=True)
        with rasterio.open(scratch, "w", crs=info.crs, transform=info.transform, **profile) as out:
            out.update_tags(**info.tags)
            out.descriptions = info.names
            if scales is not None:
                out.scales = tuple(float(scale) for scale in scales)
            _fill(out, rows, scales, profile["blockysize"], half=info.dtype == "float16")
        _add_overviews(scratch, rows)
        # more threads would be GDAL's own, which stay; a child forked later waits for them for ever
        raster_copy(
            scratch, target, copy_src_overviews=True, **_compressed(profile), num_threads="1"
        )
        scratch.unlink()
        if missing := missing_part(target):  # GDAL may report a full disk only in its log
            raise OSError(missing.reason)
    _check(target, rows, info)


def room(shape: Shape, dtype: str) -> Room:
    """Bytes that writing one map takes; its overviews are a third of it."""
    size = shape.channels * ITEM_BYTES[dtype]
    stored = pyramid(shape)
    return Room(scratch=stored.padded * size, output=round(stored.cells * size * COMPRESSED))


class Pyramid(NamedTuple):
    """Cells of one band and its overviews: those of the map, and of whole blocks."""

    cells: int
    padded: int


def pyramid(shape: Shape) -> Pyramid:
    """How many cells one band of a map takes with its overviews."""
    cells = padded = 0
    height, width = shape.height, shape.width
    block = block_side(shape)
    while True:
        cells += height * width
        padded += -(-height // block) * -(-width // block) * block**2
        if max(height, width) <= BLOCK:
            break
        height, width = -(-height // 2), -(-width // 2)
    return Pyramid(cells, padded)


def read_tags(path: Path, *, classes: bool = False) -> dict[str, str] | None:
    """The `DEO_` tags of a GeoTIFF, or None when it is none of ours.

    Args:
        classes: only those of class maps, which are stored in bytes; otherwise only others.
    """
    try:
        with open_raster(path, door=Door.FEATURES) as file:
            tags = {key: value for key, value in file.tags().items() if key.startswith("DEO_")}
            stored = file.dtypes[0]
    except (SceneError, rasterio.errors.RasterioError, CPLE_BaseError):
        return None
    return tags if tags and (stored == CLASS_DTYPE) is classes else None


def damage(path: Path, *, classes: bool = False) -> str | None:
    """What is wrong with a file that may be ours; None for a whole one and for one of others."""
    missing = missing_part(path)
    if missing is None or (not missing.head and read_tags(path, classes=classes) is None):
        return None
    return missing.reason


def _profile(rows: RowReader, info: MapInfo) -> dict[str, Any]:
    block = block_side(rows.shape)
    integer = info.dtype == "int8"
    return {
        "driver": "GTiff",
        "count": rows.shape.channels,
        "height": rows.shape.height,
        "width": rows.shape.width,
        "dtype": "int8" if integer else "float32",
        "nodata": INT8_NODATA if integer else float("nan"),
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "interleave": "band",
        "bigtiff": "if_safer",
        "photometric": "minisblack",
        "alpha": "no",
        **({"nbits": 16} if info.dtype == "float16" else {}),
    }


def _compressed(profile: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"driver", "tiled", "blockxsize", "blockysize", "interleave", "bigtiff", "nbits"}
    kept |= {"photometric", "alpha"}
    return {
        **{key: value for key, value in profile.items() if key in kept},
        "compress": "zstd",
        "zstd_level": _ZSTD_LEVEL,
        "predictor": 2 if profile["dtype"] == "int8" else 3,
    }


def _fill(
    out: Any, rows: RowReader, scales: NDArray[np.float32] | None, block: int, *, half: bool
) -> None:
    """Write whole rows of blocks, some channels at a time, each block once."""
    channels, height, width = rows.shape
    group = max(1, _BUDGET // (block * width * 4))
    for top in range(0, height, block):
        end = min(top + block, height)
        window = RasterioWindow(0, top, width, end - top)
        for first in range(0, channels, group):
            chosen = slice(first, min(first + group, channels))
            values: Any = rows.values(top, end, chosen).transpose(1, 0, 2)
            if scales is not None:
                values = to_int8(values, scales[chosen, None, None])
            elif half:
                values = to_float16(values).astype(np.float32)  # GDAL would cut off, not round
            out.write(values, list(range(first + 1, chosen.stop + 1)), window=window)


def _add_overviews(path: Path, rows: RowReader) -> None:
    factors = overview_factors(max(rows.shape.height, rows.shape.width))
    if factors:
        with rasterio.open(path, "r+", driver="GTiff") as file:
            file.build_overviews(factors, Resampling.average)


def overview_factors(side: int) -> list[int]:
    """2, 4, 8 ... until one block holds the whole map, whose longer side has `side` cells."""
    factors: list[int] = []
    while side > BLOCK * 2 ** len(factors):
        factors.append(2 ** (len(factors) + 1))
    return factors


def block_side(shape: Shape) -> int:
    """Side of the blocks of a map: 512 cells, or the multiple of 16 that holds a smaller map."""
    return min(BLOCK, -(-max(shape.height, shape.width) // 16) * 16)


def _one_file() -> Any:
    """GDAL without the NAME.aux.xml where it puts, and looks for, what GeoTIFF cannot hold."""
    return rasterio.Env(GDAL_PAM_ENABLED=False)


def _check(target: Path, rows: RowReader, info: MapInfo) -> None:
    """Read the last row back."""
    last = RasterioWindow(0, rows.shape.height - 1, rows.shape.width, 1)
    with disk_errors(target), _one_file(), rasterio.open(target, driver="GTiff") as file:
        stored, crs = file.read(window=last), file.crs
    if info.crs and not crs:
        raise OutputError(
            f"cannot write {asked_for(target)}: GeoTIFF cannot hold the scene's coordinate "
            f"reference system ({info.crs.to_wkt()[:60]}...); reproject the scene to one with an "
            "EPSG code first: gdalwarp -t_srs EPSG:CODE"
        )
    if info.dtype == "float32":
        wanted = rows.values(rows.shape.height - 1, rows.shape.height)[0]
        if not np.array_equal(stored[:, 0], wanted, equal_nan=True):
            raise OutputError(
                f"cannot write {asked_for(target)}: what was written reads back differently"
            )
