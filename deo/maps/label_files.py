"""Files of points and polygons with columns, read as tables of GeoPandas within bounds."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deo.errors import DataError, require
from deo.scene.earth import on_circle

EXTRA = "classify"
_LARGEST = 2**30  # bytes
_MOST_ROWS = 5_000_000
_LONGITUDES = ("lon", "lng", "long", "longitude")
_LATITUDES = ("lat", "latitude")
_SQLITE = b"SQLite format 3\x00"


def read_places(path: Path) -> Any:
    """A GeoDataFrame of a GeoJSON, a GeoPackage, a GeoParquet or a CSV with `lon` and `lat`.

    Raises:
        DataError: it cannot be read, holds nothing, or is larger than any file of labels.
        MissingExtraError: the extra `classify` is not installed.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} is none of the files that labels are read from: *.geojson, *.gpkg, *.parquet, "
            "*.csv"
        )
    with _readable(path):
        _check_size(path)
        table = reader(path)
    if not len(table):
        raise DataError(f"{path} is empty: it holds no labels")
    return table


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no file of labels {path}")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty: it holds no labels")
    if size > _LARGEST:
        raise DataError(
            f"{path} has {size / 2**30:.1f} GiB, and files of labels of more than "
            f"{_LARGEST >> 30} GiB are not read; keep fewer labels"
        )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one message why a file cannot be read."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # four libraries raise as many families of errors on bad files
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} cannot be read as labels: {said}") from error


def _read_geojson(path: Path) -> Any:
    # the prefix keeps GDAL to this format: a VRT under such a name would have it read other files
    return _read_vector(path, f"GeoJSON:{path.resolve()}")


def _read_geopackage(path: Path) -> Any:
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise DataError(f"{path} is not a GeoPackage")
    return _read_vector(path, path.resolve())


def _read_vector(path: Path, name: str | Path) -> Any:
    pyogrio = require("pyogrio", extra=EXTRA)
    layers = [layer for layer, geometry in pyogrio.list_layers(name) if geometry is not None]
    if len(layers) != 1:
        raise DataError(
            f"{path} has {len(layers)} layers with places ({', '.join(layers[:5])}); labels are "
            "read from a file with one"
        )
    count = pyogrio.read_info(name, layer=layers[0], force_feature_count=True)["features"]
    _check_count(path, count)
    return pyogrio.read_dataframe(name, layer=layers[0], force_2d=True)


def _read_geoparquet(path: Path) -> Any:
    rows = require("pyarrow.parquet", extra=EXTRA).read_metadata(path).num_rows
    _check_count(path, rows)
    return require("geopandas", extra=EXTRA).read_parquet(path)


def _read_csv(path: Path) -> Any:
    geopandas, pandas = (require(name, extra=EXTRA) for name in ("geopandas", "pandas"))
    with path.open(encoding="utf-8-sig") as file:
        head = file.readline()
    mark = max(",;\t", key=head.count)
    table = pandas.read_csv(path, sep=mark, dtype=str, encoding="utf-8-sig", nrows=_MOST_ROWS + 1)
    _check_count(path, len(table))
    names = {str(name).strip().lower(): name for name in table.columns}
    places = [
        next((names[name] for name in known if name in names), None)
        for known in (_LONGITUDES, _LATITUDES)
    ]
    if None in places:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns[:20]))}; longitude and "
            "latitude in degrees are read from columns called lon and lat"
        )
    longitude, latitude = (
        pandas.to_numeric(table[name], errors="coerce").to_numpy() for name in places
    )
    wrong = (np.abs(longitude) > 360) | (np.abs(latitude) > 90)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{path}: row {row + 2} lies at {longitude[row]:g}, {latitude[row]:g}, which is no "
            "longitude and latitude in degrees; give a file that says its reference system "
            "(*.geojson, *.gpkg)"
        )
    points = geopandas.points_from_xy(on_circle(longitude), latitude)
    points[np.isnan(longitude) | np.isnan(latitude)] = None
    return geopandas.GeoDataFrame(table.drop(columns=places), geometry=points, crs="EPSG:4326")


def _check_count(path: Path, count: int) -> None:
    if count > _MOST_ROWS:
        raise DataError(
            f"{path} holds {count:,} labels, and more than {_MOST_ROWS:,} are not read; keep "
            "fewer of them"
        )


_READERS: dict[str, Callable[[Path], Any]] = {
    ".geojson": _read_geojson,
    ".json": _read_geojson,
    ".gpkg": _read_geopackage,
    ".parquet": _read_geoparquet,
    ".geoparquet": _read_geoparquet,
    ".csv": _read_csv,
}
