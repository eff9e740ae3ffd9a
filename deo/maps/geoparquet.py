"""GeoParquet of chip embeddings: one row per square of ground that holds any valid pixel.

Rows follow the Hilbert curve, so that the chips of a row group lie together and readers that filter
by place skip most groups. Geometry is in EPSG:4326, with the `bbox` covering column; the file's
metadata hold `geo`, `emb` and `deo` as JSON. A chip over the 180th meridian is two polygons, one on
each side.

pyarrow writes the table group by group. GeoPandas gives the order of rows; it writes whole frames
only, which would have to fit into memory, and no metadata beside its own.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from deo.errors import require
from deo.files.documents import parse_json
from deo.files.publish import Room, disk_errors
from deo.maps.chips import Chips, areas, check_place, check_side, spool_chips
from deo.maps.metadata import MapInfo
from deo.maps.quantise import ITEM_BYTES, scales_of, to_float16, to_int8
from deo.maps.rows import RowReader, Shape
from deo.scene.earth import Area, Box, join

_EXTRA = "geo"
_MAGIC = b"PAR1"  # at both ends of a file
_ROW_BYTES = 65  # of a chip, beside its embedding
_GROUP_BYTES = 2**20
"""Of embeddings in a row group: what a reader fetches at least, who wants a few chips."""
_MOST_ROWS = 65_536
_REPEATED = ("datetime", "source", "row", "col", "valid_fraction")
"""Columns of few values, which have a dictionary. With one of float32 vectors a file is half as
large again; bytes are four times as large in Parquet without one.
"""
_VECTORS = "embedding.list.element"


def check(info: MapInfo, chip: int) -> None:
    """Refuse what cannot become GeoParquet before anything is computed.

    Raises:
        MissingExtraError: the extra `geo` is not installed.
        OutputError: the scene has no position on the Earth.
        ConfigError: chips do not fall on cells.
    """
    for module in ("pyarrow.parquet", "shapely", "geopandas"):
        require(module, extra=_EXTRA)
    check_side(info, chip)
    check_place(info, height=info.stride, width=info.stride)


def write_geoparquet(
    rows: RowReader,
    info: MapInfo,
    target: Path,
    scratch: Path,
    *,
    chip: int,
    height: int,
    width: int,
) -> None:
    """Write chip embeddings to `target`, by way of the new file `scratch`.

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    pa, pq = require("pyarrow", extra=_EXTRA), require("pyarrow.parquet", extra=_EXTRA)
    schema = _schema(pa, info)
    extent = _Extent()
    repeated = [*_REPEATED, *([_VECTORS] if info.dtype == "int8" else [])]
    settings = {"compression": "zstd", "use_dictionary": repeated}
    with disk_errors(target), pq.ParquetWriter(target, schema, **settings) as writer:
        chips = spool_chips(rows, info, scratch, chip=chip, height=height, width=width)
        scales = scales_of(chips.embedding) if info.dtype == "int8" else None
        size = rows.shape.channels * ITEM_BYTES[info.dtype]
        count = min(max(1, _GROUP_BYTES // size), _MOST_ROWS)
        order = _along_hilbert_curve(chips.windows)
        for start in range(0, len(order), count):
            group = chips.take(order[start : start + count])
            grounds = areas(info, group.windows)
            extent.add(grounds)
            writer.write_table(_table(pa, schema, group, grounds, info, scales))
        writer.add_key_value_metadata(_metadata(info, chip, extent, scales))
        scratch.unlink()


def room(shape: Shape, dtype: str, *, cells: int) -> Room:
    """Bytes that writing chips of `cells` x `cells` cells takes."""
    chips = -(-shape.height // cells) * -(-shape.width // cells)
    return Room(
        scratch=chips * shape.channels * ITEM_BYTES["float32"],
        output=chips * (shape.channels * ITEM_BYTES[dtype] + _ROW_BYTES),
    )


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
        footer = pq.read_metadata(path)
    except (OSError, ValueError, pa.ArrowException):
        return f"it is cut off after {size} bytes" if _MAGIC.startswith(head) else None
    if b"deo" not in (footer.metadata or {}):
        return None
    ends = [
        (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size
        for group in range(footer.num_row_groups)
        for column in map(footer.row_group(group).column, range(footer.num_columns))
    ]
    least = max(ends, default=len(_MAGIC)) + footer.serialized_size + 2 * len(_MAGIC)
    return None if size >= least else f"{size} of {least} bytes are there"


def read_tags(path: Path) -> dict[str, str] | None:
    """The `DEO_` tags of a GeoParquet file, or None when it is none of ours."""
    pa, pq = require("pyarrow", extra=_EXTRA), require("pyarrow.parquet", extra=_EXTRA)
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return dict(parse_json(metadata[b"deo"], str(path))) if b"deo" in metadata else None
    except (OSError, ValueError, pa.ArrowException):
        return None


def _along_hilbert_curve(windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order of chips along the Hilbert curve over the scene's rows and columns."""
    if not len(windows):
        return np.zeros(0, np.int64)
    points = require("geopandas", extra=_EXTRA).GeoSeries.from_xy(windows[:, 1], windows[:, 0])
    order: NDArray[np.int64] = np.argsort(points.hilbert_distance().to_numpy(), kind="stable")
    return order


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
            pa.field("embedding", pa.list_(number, len(info.names)), nullable=False),
        ]
    )


def _table(
    pa: Any,
    schema: Any,
    chips: Chips,
    grounds: list[Area],
    info: MapInfo,
    scales: NDArray[np.float32] | None,
) -> Any:
    """A table of one group of rows."""
    shapely = require("shapely", extra=_EXTRA)
    polygons = [_geometry(shapely, area) for area in grounds]
    boxes = shapely.bounds(polygons)  # flat ones, -180..180 over 180: what readers filter by
    embedding: Any = chips.embedding
    if scales is not None:
        embedding = to_int8(embedding, scales)
    elif info.dtype == "float16":
        embedding = to_float16(embedding)
    count, channels = embedding.shape
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
        pa.FixedSizeListArray.from_arrays(flat, channels),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _geometry(shapely: Any, area: Area) -> Any:
    if len(area.rings) == 1:
        return shapely.polygons(area.rings[0])
    return shapely.multipolygons([shapely.polygons(ring) for ring in area.rings])


class _Extent:
    """What the file's metadata say of all chips: their kinds of geometry and the box around them.

    Boxes are joined group by group: one over the 180th meridian stays small.
    """

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.kinds: list[str] = []

    def add(self, grounds: list[Area]) -> None:
        """Take in the chips of one group."""
        self.boxes.append(join([area.box for area in grounds]))
        kinds = {"Polygon" if len(area.rings) == 1 else "MultiPolygon" for area in grounds}
        self.kinds = sorted({*self.kinds, *kinds}, reverse=True)


def _metadata(
    info: MapInfo, chip: int, extent: _Extent, scales: NDArray[np.float32] | None
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
        "column": "embedding",
        "pooling": "mean weighted by valid fraction",
        **info.embeddings(chip=chip).parquet_metadata(scales),
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {"geo": json.dumps(geo), "emb": json.dumps(embedding), "deo": json.dumps(info.tags)}
