"""Where an xarray object lies, read from its labels; and labels for arrays, written from a grid.

The reference system stands as rioxarray and odc-geo write it, which is the CF way: in the
attributes of a scalar coordinate such as `spatial_ref`. Neither package is needed to read it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from deo.errors import SceneError, require
from deo.scene.find import parse_crs, parse_transform
from deo.scene.grid import Grid

_DOWN = ("y", "latitude", "lat", "northing")
_ACROSS = ("x", "longitude", "lon", "easting")
_MAPPINGS = ("spatial_ref", "crs")
_CODES = ("proj:code", "proj:epsg", "epsg")  # coordinates that stackstac makes of STAC properties
_UNEVEN = 0.01  # of a pixel, by which coordinates may be off
_FARTHEST_EASTING = 2e6  # metres that no scene in UTM reaches


class Axes(NamedTuple):
    """Names of the dimensions of rows and of columns."""

    y: str
    x: str


class _Steps(NamedTuple):
    """The first of evenly spaced coordinates and their distance, None where there is only one."""

    first: float
    step: float | None


def axes_of(data: Any) -> Axes:
    """The dimensions of rows and columns of a Dataset or DataArray.

    Raises:
        SceneError: there are none, or columns come before rows.
    """
    dims = [str(name) for name in data.dims]
    down = [name for name in dims if name.lower() in _DOWN]
    across = [name for name in dims if name.lower() in _ACROSS]
    if len(down) != 1 or len(across) != 1:
        raise SceneError(
            f"the xarray object has the dimensions {', '.join(dims) or 'none'}; wanted is one of "
            f"{', '.join(_DOWN)} for its rows and one of {', '.join(_ACROSS)} for its columns"
        )
    return Axes(down[0], across[0])


def check_order(array: Any, axes: Axes, *, what: str) -> None:
    """Refuse a variable whose columns come before its rows.

    Raises:
        SceneError: they do.
    """
    dims = list(map(str, array.dims))
    if dims.index(axes.x) < dims.index(axes.y):
        wanted = [name for name in dims if name not in axes] + list(axes)
        raise SceneError(
            f"{what} has swapped axes: its dimensions are ({', '.join(dims)}), and rows have to "
            f"come before columns. Where the names are right, transpose it: "
            f"data.transpose({', '.join(map(repr, wanted))})"
        )


def grid_of(data: Any, axes: Axes, *, name: str, crs: Any = None, transform: Any = None) -> Grid:
    """The grid that an object's coordinates describe.

    Args:
        name: of the object, for messages.
        crs, transform: the caller's word, above what the object says.

    Raises:
        SceneError: nothing says where it lies, or what does contradicts itself.
    """
    stated = _stated_crs(data) if crs is None else crs
    if stated is None:
        raise SceneError(
            f"{name} has no coordinate reference system; add it with "
            "data.rio.write_crs('EPSG:32633') or data.odc.assign_crs('EPSG:32633'), or give crs="
        )
    grid = Grid(
        height=data.sizes[axes.y],
        width=data.sizes[axes.x],
        crs=parse_crs(stated),
        transform=_transform_of(data, axes, name)
        if transform is None
        else parse_transform(transform),
    )
    _check_exchanged(grid, name)
    return grid


def _stated_crs(data: Any) -> Any:
    """What an object says of its reference system, in any form; None where it says nothing."""
    for attributes in _mappings(data):
        for key in ("crs_wkt", "spatial_ref", "epsg_code"):
            if attributes.get(key):
                return attributes[key]
    for key in _CODES:
        if key in data.coords and data.coords[key].ndim == 0:
            value = data.coords[key].item()
            return f"EPSG:{value}" if isinstance(value, int) else value
    return data.attrs.get("crs")


def _mappings(data: Any) -> list[Mapping[str, Any]]:
    """Attributes of the variables that hold a reference system."""
    variables = [data, *getattr(data, "data_vars", {}).values()]
    named = [
        place["grid_mapping"]
        for variable in variables
        for place in (variable.encoding, variable.attrs)
        if "grid_mapping" in place
    ]
    every = getattr(data, "variables", data.coords)
    return [every[name].attrs for name in dict.fromkeys((*named, *_MAPPINGS)) if name in every]


def _stated_transform(data: Any) -> Affine | None:
    """The transform in GDAL's or rasterio's order that attributes hold."""
    for attributes in _mappings(data):
        if text := attributes.get("GeoTransform"):
            try:
                return Affine.from_gdal(*map(float, str(text).split()))
            except (TypeError, ValueError) as error:
                raise SceneError(f"the GeoTransform {text!r} is not six numbers") from error
    numbers = data.attrs.get("transform")
    return None if numbers is None else parse_transform(tuple(numbers)[:6])


def _transform_of(data: Any, axes: Axes, name: str) -> Affine:
    """From coordinates, which slicing keeps right; from attributes where they cannot tell."""
    stated = _stated_transform(data)
    labelled = all(axis in data.coords and data.coords[axis].ndim == 1 for axis in axes)
    if stated is not None and (not labelled or stated.b or stated.d):
        return stated
    if not labelled:
        raise SceneError(
            f"{name} has no coordinates {axes.y} and {axes.x}, so nothing says where it lies; "
            "assign them, or give transform="
        )
    down, across = _steps(data, axes.y, name), _steps(data, axes.x, name)
    height = down.step or (stated and stated.e)
    width = across.step or (stated and stated.a)
    if not height or not width:
        raise SceneError(
            f"{name} has a single row or column, whose size no other coordinate tells; give "
            "transform="
        )
    # centres of pixels as CF has them; stackstac's are upper-left corners by default
    part = 0.5
    if stated is not None and all(
        abs(offset - round(offset)) < _UNEVEN
        for offset in (
            (across.first - stated.c) / stated.a,
            (down.first - stated.f) / stated.e,
        )
    ):
        part = 0.0
    return Affine(width, 0.0, across.first - part * width, 0.0, height, down.first - part * height)


def _steps(data: Any, axis: str, name: str) -> _Steps:
    values = np.asarray(data.coords[axis].values, np.float64)
    if len(values) == 1:
        return _Steps(float(values[0]), None)
    step = float(values[-1] - values[0]) / (len(values) - 1)
    if not step or not np.abs(np.diff(values) - step).max() <= _UNEVEN * abs(step):
        raise SceneError(
            f"{name} has coordinates {axis} that are not evenly spaced, so its pixels form no "
            "grid; resample it to one first"
        )
    return _Steps(float(values[0]), step)


def _check_exchanged(grid: Grid, name: str) -> None:
    """Refuse eastings and northings of UTM that stand under each other's name."""
    code = grid.crs.to_epsg() or 0
    if not (32601 <= code <= 32660 or 32701 <= code <= 32760):
        return
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    if abs(x) > _FARTHEST_EASTING and 0 < y < _FARTHEST_EASTING / 2:
        raise SceneError(
            f"{name} has swapped axes: in EPSG:{code} its centre would be at easting {x:.0f}, "
            f"northing {y:.0f}. Exchange the coordinates x and y"
        )


def data_array(
    values: Any,
    names: Sequence[str],
    *,
    dimension: str,
    crs: Any,
    transform: Affine,
    attributes: Mapping[str, Any],
    name: str | None = None,
) -> Any:
    """A DataArray of planes (C, H, W), NumPy or Dask, with coordinates and reference system.

    Args:
        names: of the planes.
        dimension: what the planes are, such as `band`.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    xarray: Any = require("xarray", extra="xarray")
    height, width = values.shape[-2:]
    t = transform
    coordinates: dict[str, Any] = {dimension: list(names)}
    if not (t.b or t.d):  # coordinates of a turned grid would need two dimensions
        coordinates["y"] = (
            "y",
            _centres(t.f, t.e, height),
            {"standard_name": "projection_y_coordinate"},
        )
        coordinates["x"] = (
            "x",
            _centres(t.c, t.a, width),
            {"standard_name": "projection_x_coordinate"},
        )
    mapping = {"GeoTransform": " ".join(repr(float(number)) for number in t.to_gdal())}
    if crs is not None:
        wkt = crs.to_wkt()
        mapping |= {"crs_wkt": wkt, "spatial_ref": wkt}
    coordinates["spatial_ref"] = ((), 0, mapping)
    array = xarray.DataArray(
        values, coordinates, (dimension, "y", "x"), name=name, attrs=dict(attributes)
    )
    array.encoding["grid_mapping"] = "spatial_ref"
    return array


def _centres(start: float, step: float, count: int) -> NDArray[Any]:
    return start + step * (np.arange(count) + 0.5)
