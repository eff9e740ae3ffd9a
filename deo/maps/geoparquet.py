"""GeoParquet of chip embeddings: one row per square of ground that holds any valid pixel.

A chip's embedding is the mean of the features in it, each weighted by the valid fraction of its
cell. Geometry is in EPSG:4326, with the `bbox` covering column; the file metadata holds `geo`,
`emb` and `deo` as JSON. A chip over the 180th meridian is two polygons, one on each side.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from deo.errors import ConfigError, OutputError, SceneError, require
from deo.files.documents import parse_json
from deo.files.publish import Room, disk_errors
from deo.maps.metadata import MapInfo
from deo.maps.quantise import ITEM_BYTES, to_float16, to_int8
from deo.maps.rows import RowReader, Shape
from deo.scene.earth import Area, Box, Ground, join

_EXTRA = "geo"
_INT8_MAX = 127
_STEPS = 16  # segments at most of a chip's side
_MAGIC = b"PAR1"  # at both ends of a file
_ROW_BYTES = 130  # of a chip, beside its embedding


class Chips(NamedTuple):
    """A row of chips: pixel windows (n, 4) as row, col, height, width; fractions; embeddings."""

    windows: NDArray[np.int64]
    valid_fraction: NDArray[np.float32]
    embedding: NDArray[np.float32]


def check(info: MapInfo, chip: int) -> None:
    """Refuse what cannot become GeoParquet before anything is computed.

    Raises:
        MissingExtraError: the extra `geo` is not installed.
        OutputError: the scene has no position on the Earth.
        ConfigError: chips do not fall on cells.
    """
    for module in ("pyarrow.parquet", "shapely"):
        require(module, extra=_EXTRA)
    if chip < info.stride or chip % info.stride:
        raise ConfigError(
            f"chips of {chip} pixels are no multiple of the layer's stride {info.stride}; "
            f"try {max(1, round(chip / info.stride)) * info.stride}"
        )
    check_place(info, height=info.stride, width=info.stride)


def check_place(info: MapInfo, *, height: int, width: int) -> None:
    """Refuse a scene of `height` x `width` pixels that does not lie on Earth as a whole.

    Raises:
        OutputError: nothing says where on Earth it is.
    """
    _areas(info, np.array([[0, 0, height, width]]))


def pool(rows: RowReader, info: MapInfo, *, chip: int, height: int, width: int) -> Iterator[Chips]:
    """Mean features of chips of `chip` pixels, one row of chips after the other.

    Args:
        height, width: of the scene in pixels; chips at its edges are cut off there.
    """
    step = chip // info.stride
    lefts = np.arange(0, rows.shape.width, step)
    for top in range(0, rows.shape.height, step):
        end = min(top + step, rows.shape.height)
        weight = rows.valid(top, end)
        values = np.nan_to_num(rows.values(top, end), copy=False)
        sums = np.add.reduceat((values * weight[:, None]).sum(axis=0), lefts, axis=1).T
        weights = np.add.reduceat(weight.sum(axis=0), lefts)
        kept = np.flatnonzero(weights > 0)
        columns = lefts[kept] * info.stride
        windows = np.stack(
            (
                np.full(len(kept), top * info.stride),
                columns,
                np.full(len(kept), min(chip, height - top * info.stride)),
                np.minimum(chip, width - columns),
            ),
            axis=1,
        )
        area = windows[:, 2] * windows[:, 3] / info.stride**2
        yield Chips(
            windows,
            np.minimum(weights[kept] / area, 1).astype(np.float32),
            (sums[kept] / weights[kept, None]).astype(np.float32),
        )


def write_geoparquet(
    rows: RowReader, info: MapInfo, target: Path, *, chip: int, height: int, width: int
) -> None:
    """Write chip embeddings to `target`, one row group per row of chips.

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    pa, pq = require("pyarrow", extra=_EXTRA), require("pyarrow.parquet", extra=_EXTRA)
    scales = _scales(rows, info, chip, height, width) if info.dtype == "int8" else None
    schema = _schema(pa, info)
    extent = _Extent()
    with disk_errors(target), pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for chips in pool(rows, info, chip=chip, height=height, width=width):
            if len(chips.windows):
                areas = _areas(info, chips.windows)
                extent.add(areas)
                writer.write_table(_table(pa, schema, chips, areas, info, scales))
        writer.add_key_value_metadata(_metadata(rows, info, chip, extent, scales))


def room(shape: Shape, dtype: str, *, cells: int) -> Room:
    """Bytes that writing chips of `cells` x `cells` cells takes."""
    chips = -(-shape.height // cells) * -(-shape.width // cells)
    return Room(scratch=0, output=chips * (shape.channels * ITEM_BYTES[dtype] + _ROW_BYTES))


def damage(path: Path) -> str | None:
    """What is wrong with a file that may be ours; None for a whole one and for one of others.

    What a Parquet file is stands at its end, so one that is cut off does not say whose it is.
    """
    pa, pq = require("pyarrow", extra=_EXTRA), require("pyarrow.parquet", extra=_EXTRA)
    try:
        with path.open("rb") as file:
            head, size = file.read(4), file.seek(0, os.SEEK_END)
        if size == 0:
            return "it is empty"
        found = pq.read_metadata(path)
    except (OSError, ValueError, pa.ArrowException):
        return f"it is cut off after {size} bytes" if _MAGIC.startswith(head) else None
    if b"deo" not in (found.metadata or {}):
        return None
    ends = [
        (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size
        for group in range(found.num_row_groups)
        for column in map(found.row_group(group).column, range(found.num_columns))
    ]
    least = max(ends, default=len(_MAGIC)) + found.serialized_size + 2 * len(_MAGIC)
    return None if size >= least else f"{size} of {least} bytes are there"


def read_tags(path: Path) -> dict[str, str] | None:
    """The `DEO_` tags of a GeoParquet file, or None when it is none of ours."""
    pa, pq = require("pyarrow", extra=_EXTRA), require("pyarrow.parquet", extra=_EXTRA)
    try:
        found = pq.read_metadata(path).metadata or {}
        return dict(parse_json(found[b"deo"], str(path))) if b"deo" in found else None
    except (OSError, ValueError, pa.ArrowException):
        return None


def _scales(
    rows: RowReader, info: MapInfo, chip: int, height: int, width: int
) -> NDArray[np.float32]:
    largest = np.zeros(rows.shape.channels, np.float32)
    for chips in pool(rows, info, chip=chip, height=height, width=width):
        if len(chips.embedding):
            np.maximum(largest, np.abs(chips.embedding).max(axis=0), out=largest)
    largest[largest == 0] = 1
    return largest / np.float32(_INT8_MAX)


def _schema(pa: Any, info: MapInfo) -> Any:
    corner = [(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")]
    number = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[info.dtype]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("geometry", pa.binary(), nullable=False),
            pa.field("bbox", pa.struct(corner)),
            pa.field("datetime", pa.timestamp("ms", tz="UTC")),
            pa.field("source", pa.string()),
            pa.field("row", pa.int32()),
            pa.field("col", pa.int32()),
            pa.field("valid_fraction", pa.float32()),
            pa.field("embedding", pa.list_(number)),
        ]
    )


def _table(
    pa: Any,
    schema: Any,
    chips: Chips,
    areas: list[Area],
    info: MapInfo,
    scales: NDArray[np.float32] | None,
) -> Any:
    """A table of one row of chips."""
    shapely = require("shapely", extra=_EXTRA)
    polygons = [_geometry(shapely, area) for area in areas]
    boxes = shapely.bounds(polygons)  # flat ones, -180..180 over 180: what readers filter by
    embedding: Any = chips.embedding
    if scales is not None:
        embedding = to_int8(embedding, scales)
    elif info.dtype == "float16":
        embedding = to_float16(embedding)
    count, channels = embedding.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * channels)
    flat = pa.array(embedding.reshape(-1), type=schema.field("embedding").type.value_type)
    columns = [
        pa.array([f"{info.source}_r{row}_c{col}" for row, col in chips.windows[:, :2]]),
        pa.array(list(shapely.to_wkb(polygons)), type=pa.binary()),
        pa.StructArray.from_arrays(
            [pa.array(boxes[:, side]) for side in range(4)], ["xmin", "ymin", "xmax", "ymax"]
        ),
        pa.array([info.datetime] * count, type=schema.field("datetime").type),
        pa.array([info.source] * count),
        pa.array(chips.windows[:, 0].astype(np.int32)),
        pa.array(chips.windows[:, 1].astype(np.int32)),
        pa.array(chips.valid_fraction),
        pa.ListArray.from_arrays(offsets, flat),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _areas(info: MapInfo, windows: NDArray[np.int64]) -> list[Area]:
    """The ground of windows (n, 4) of row, col, height, width, in pixels of the scene."""
    top, left, height, width = windows.T
    boxes = np.stack((left, top, left + width, top + height), axis=1) / info.stride
    ground = Ground(name=info.source, crs=info.crs, transform=info.transform)
    try:
        return ground.outlines(boxes, steps=_STEPS)
    except SceneError as error:
        raise OutputError(
            f"{error}, so chips have no place; write a .tif or .zarr, or give the scene one with "
            "rasterio's `rio edit-info --crs` (gdalwarp -t_srs, where it has another)"
        ) from error


def _geometry(shapely: Any, area: Area) -> Any:
    if len(area.rings) == 1:
        return shapely.polygons(area.rings[0])
    return shapely.multipolygons([shapely.polygons(ring) for ring in area.rings])


class _Extent:
    """What the file's metadata say of all chips: their kinds of geometry and the box around them.

    Boxes are joined row by row: one over the 180th meridian stays small.
    """

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.kinds: list[str] = []

    def add(self, areas: list[Area]) -> None:
        """Take in the chips of one row."""
        self.boxes.append(join([area.box for area in areas]))
        kinds = {"Polygon" if len(area.rings) == 1 else "MultiPolygon" for area in areas}
        self.kinds = sorted({*self.kinds, *kinds}, reverse=True)


def _metadata(
    rows: RowReader,
    info: MapInfo,
    chip: int,
    extent: "_Extent",
    scales: NDArray[np.float32] | None,
) -> dict[str, str]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": extent.kinds,
        "crs": CRS.from_epsg(4326).to_dict(projjson=True),
        "covering": {"bbox": {k: ["bbox", k] for k in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if extent.boxes:
        column["bbox"] = list(join(extent.boxes))
    embedding = {
        "type": "chip",
        "column": "embedding",
        "model": info.tags["DEO_MODEL"],
        "dimensions": rows.shape.channels,
        "data_type": info.dtype,
        "chip_size": chip,
        "pooling": "mean weighted by valid fraction",
        "source": info.source,
    }
    if scales is not None:
        embedding["scale"] = [float(scale) for scale in scales]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {"geo": json.dumps(geo), "emb": json.dumps(embedding), "deo": json.dumps(info.tags)}
