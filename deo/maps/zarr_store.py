"""Zarr version 3: a group with the map, its valid fraction and its coordinates."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

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
_ARRAYS = ("embeddings", "valid_fraction", "scale", "x", "y")
_CONTENTS = "deo:contents"
_CONVENTIONS = [
    {"name": "proj:", "spec_url": "https://github.com/zarr-conventions/geo-proj"},
    {"name": "spatial:", "spec_url": "https://github.com/zarr-conventions/spatial"},
    {"name": "geoemb:"},
]


def check() -> None:
    """Refuse before anything is computed.

    Raises:
        MissingExtraError: the extra `zarr` is not installed.
    """
    require("zarr", extra="zarr")


def write_zarr(rows: RowReader, info: MapInfo, target: Path) -> None:
    """Write one layer's map as the group `target`.

    `embeddings` (embedding, y, x), chunked over y and x; NaN (int8: -128) is nodata.
    `valid_fraction` (y, x). With int8, value = stored x `scale` (embedding).

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    zarr = require("zarr", extra="zarr")
    channels, height, width = rows.shape
    scales = fit_scales(rows) if info.dtype == "int8" else None
    side = _chunk_side(channels)
    with disk_errors(target):
        group = zarr.create_group(
            store=str(target),
            zarr_format=3,
            attributes=_attributes(rows, info),
        )
        array = group.create_array(
            "embeddings",
            shape=rows.shape,
            chunks=(channels, min(side, height), min(side, width)),
            dtype=info.dtype,
            fill_value=INT8_NODATA if scales is not None else float("nan"),
            dimension_names=("embedding", "y", "x"),
            compressors=zarr.codecs.ZstdCodec(level=1),
            attributes={"long_name": f"layer {info.layer} of {info.tags['DEO_MODEL']}"},
        )
        fraction = group.create_array(
            "valid_fraction",
            shape=(height, width),
            dtype="float32",
            chunks=(min(512, height), min(512, width)),
            dimension_names=("y", "x"),
        )
        _coordinates(group, rows, info)
        if scales is not None:
            _vector(group, "scale", scales, "embedding")
        for top in range(0, height, side):
            end = min(top + side, height)
            values: Any = rows.values(top, end).transpose(1, 0, 2)
            if scales is not None:
                values = to_int8(values, scales[:, None, None])
            elif info.dtype == "float16":
                values = to_float16(values)
            array[:, top:end] = values
            fraction[top:end] = rows.valid(top, end)
        group.update_attributes({_CONTENTS: _contents(target)})


def room(shape: Shape, dtype: str) -> Room:
    """Bytes that writing one map takes."""
    cell = shape.channels * ITEM_BYTES[dtype] * COMPRESSED + 0.5
    return Room(scratch=0, output=round(shape.cells * cell))


def damage(path: Path) -> str | None:
    """What is wrong with a group that may be ours; None for a whole one and for one of others.

    A chunk without a valid cell is not stored, so what is missing shows by the record alone.
    """
    if read_tags(path) is not None:
        recorded, found = _attributes_of(path).get(_CONTENTS), _contents(path)
        if recorded == found:
            return None
        count = recorded.get("files") if isinstance(recorded, dict) else "an unknown number"
        return f"{found['files']} of {count} files are there, or their sizes differ"
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
    channels, height, width = rows.shape
    transform = info.transform
    x, y = info.place(np.array([0, width, 0, width]), np.array([0, 0, height, height]))
    attributes: dict[str, Any] = {
        "zarr_conventions": _CONVENTIONS,
        "geoemb:type": "pixel",
        "geoemb:dimensions": channels,
        "geoemb:model": info.tags["DEO_MODEL"],
        "geoemb:source_data": info.source,
        "geoemb:data_type": info.dtype,
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": [height, width],
        "spatial:transform": list(transform)[:6],
        "spatial:bbox": [float(side) for side in (x.min(), y.min(), x.max(), y.max())],
        "spatial:registration": "pixel",
        "deo": dict(info.tags),
    }
    if info.crs is not None:
        code = info.crs.to_authority()
        attributes["proj:code"] = ":".join(code) if code else None
        attributes["proj:wkt2"] = info.crs.to_wkt(version="WKT2_2019")
    return attributes
