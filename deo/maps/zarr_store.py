"""Zarr version 3: a group with the map, its valid fraction and its coordinates."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.describe.zarr_group import group_attributes
from deo.errors import require
from deo.files.documents import load_json
from deo.files.junk import is_junk
from deo.files.publish import Room, disk_errors
from deo.maps.metadata import MapInfo
from deo.maps.quantise import (
    COMPRESSED,
    INT8_NODATA,
    ITEM_BYTES,
    fit_scales,
    to_float16,
    to_int8,
)
from deo.maps.rows import RowReader, Shape

_CHUNK_BYTES = 4 * 2**20
_SHARD_BYTES = 64 * 2**20
"""Numbers in a file, before they are compressed: a store of thousands of files is slow to copy."""
_FRACTION_SIDE = 512
_ARRAYS = ("embeddings", "valid_fraction", "scale", "x", "y")
_CONTENTS = "deo:contents"


def check() -> None:
    """Refuse before anything is computed.

    Raises:
        MissingExtraError: the extra `zarr` is not installed.
    """
    require("zarr", extra="zarr")


def write_zarr(rows: RowReader, info: MapInfo, target: Path) -> None:
    """Write one layer's map as the group `target`.

    `embeddings` (embedding, y, x), chunked over y and x, the chunks of a row joined to shards; NaN
    (int8: -128) is nodata. `valid_fraction` (y, x). With int8, value = stored x `scale`
    (embedding).

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    zarr = require("zarr", extra="zarr")
    scales = fit_scales(rows) if info.dtype == "int8" else None
    with disk_errors(target):
        group = zarr.create_group(
            store=str(target), zarr_format=3, attributes=_attributes(rows, info)
        )
        _fill(_embeddings(zarr, group, rows, info), rows, info.dtype, scales)
        _valid_fraction(group, rows)
        _coordinates(group, rows, info)
        if scales is not None:
            _vector(group, "scale", scales, "embedding")
        group.update_attributes({_CONTENTS: _contents(target)})


def _embeddings(zarr: Any, group: Any, rows: RowReader, info: MapInfo) -> Any:
    """The empty array of a map. A shard is written once, by a row of chunks that is in memory."""
    channels, height, width = rows.shape
    side = _chunk_side(channels)
    chunk = Shape(channels, min(side, height), min(side, width))
    size = chunk.channels * chunk.cells * ITEM_BYTES[info.dtype]
    joined = min(-(-width // chunk.width), max(1, _SHARD_BYTES // size))
    return group.create_array(
        "embeddings",
        shape=rows.shape,
        chunks=chunk,
        shards=(chunk.channels, chunk.height, chunk.width * joined),
        dtype=info.dtype,
        fill_value=INT8_NODATA if info.dtype == "int8" else float("nan"),
        dimension_names=("embedding", "y", "x"),
        compressors=zarr.codecs.ZstdCodec(level=1),
        attributes={"long_name": f"layer {info.layer} of {info.tags['DEO_MODEL']}"},
    )


def _fill(array: Any, rows: RowReader, dtype: str, scales: NDArray[np.float32] | None) -> None:
    step = array.chunks[1]
    for top in range(0, rows.shape.height, step):
        end = min(top + step, rows.shape.height)
        values: Any = rows.values(top, end).transpose(1, 0, 2)
        if scales is not None:
            values = to_int8(values, scales[:, None, None])
        elif dtype == "float16":
            values = to_float16(values)
        array[:, top:end] = values


def _valid_fraction(group: Any, rows: RowReader) -> None:
    _, height, width = rows.shape
    array = group.create_array(
        "valid_fraction",
        shape=(height, width),
        dtype="float32",
        chunks=(min(_FRACTION_SIDE, height), min(_FRACTION_SIDE, width)),
        dimension_names=("y", "x"),
    )
    for top in range(0, height, _FRACTION_SIDE):
        end = min(top + _FRACTION_SIDE, height)
        array[top:end] = rows.valid(top, end)


def room(shape: Shape, dtype: str) -> Room:
    """Bytes that writing one map takes."""
    cell = shape.channels * ITEM_BYTES[dtype] * COMPRESSED + 0.5
    return Room(scratch=0, output=round(shape.cells * cell))


def damage(path: Path) -> str | None:
    """What is wrong with a group that may be ours; None for a whole one and for one of others.

    A chunk without a valid cell is not stored, so what is missing shows by the record alone.
    """
    if read_tags(path) is not None:
        recorded, stored = _attributes_of(path).get(_CONTENTS), _contents(path)
        if recorded == stored:
            return None
        count = recorded.get("files") if isinstance(recorded, dict) else "an unknown number"
        return f"{stored['files']} of {count} files are there, or their sizes differ"
    names = [name for name in os.listdir(path) if not is_junk(name)]
    if not names:
        return "it is empty"
    if "embeddings" in names and not _attributes_of(path):
        return "its zarr.json cannot be read"
    return None


def _contents(path: Path) -> dict[str, Any]:
    """Number, bytes and digest of the files of our arrays; what others add does not count."""
    files = sorted(
        (Path(place, name).relative_to(path).as_posix(), os.path.getsize(os.path.join(place, name)))
        for array in _ARRAYS
        for place, _, names in os.walk(path / array)
        for name in names
        if not is_junk(name)
    )
    return {
        "files": len(files),
        "bytes": sum(size for _, size in files),
        "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def read_tags(path: Path) -> dict[str, str] | None:
    """The `DEO_` tags of a Zarr group, or None when it is none of ours."""
    tags = _attributes_of(path).get("deo")
    return tags if isinstance(tags, dict) else None


def _attributes_of(path: Path) -> dict[str, Any]:
    """Of a group's zarr.json; none where it cannot be read."""
    try:
        return dict(load_json(path / "zarr.json")["attributes"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _chunk_side(channels: int) -> int:
    side = 16
    while 4 * channels * (2 * side) ** 2 <= _CHUNK_BYTES and side < 512:
        side *= 2
    return side


def _coordinates(group: Any, rows: RowReader, info: MapInfo) -> None:
    """Cell centres, when rows and columns run along the axes of the reference system."""
    transform = info.transform
    if transform.b or transform.d:
        return
    x = transform.c + (np.arange(rows.shape.width) + 0.5) * transform.a
    y = transform.f + (np.arange(rows.shape.height) + 0.5) * transform.e
    _vector(group, "x", x, "x")
    _vector(group, "y", y, "y")


def _vector(group: Any, name: str, values: Any, dimension: str) -> None:
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, dimension_names=(dimension,)
    )
    array[:] = values


def _attributes(rows: RowReader, info: MapInfo) -> dict[str, Any]:
    _, height, width = rows.shape
    x, y = info.place(np.array([0, width, 0, width]), np.array([0, 0, height, height]))
    described = group_attributes(
        info.embeddings(),
        crs=info.crs,
        transform=info.transform[:6],
        shape=(height, width),
        bbox=(x.min(), y.min(), x.max(), y.max()),
    )
    return {**described, "deo": dict(info.tags)}
