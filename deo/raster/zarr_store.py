"""Zarr version 3: a group with the map, its valid fraction and its coordinates."""

from pathlib import Path
from typing import Any

import numpy as np

from deo.documents import load_json
from deo.errors import require
from deo.raster.disk import disk_errors
from deo.raster.metadata import MapInfo
from deo.raster.quantise import INT8_NODATA, fit_scales, to_float16, to_int8
from deo.raster.spool import RowReader

_CHUNK_BYTES = 4 * 2**20
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
            overwrite=True,  # of what a killed run left
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


def read_tags(path: Path) -> dict[str, str] | None:
    """The `DEO_` tags of a Zarr group, or None when it is none of ours."""
    try:
        attributes = load_json(path / "zarr.json")["attributes"]
        return dict(attributes["deo"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
