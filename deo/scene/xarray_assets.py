"""The bands of an xarray Dataset or DataArray: which variable is which, and what is known of it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deo.bands import BandSet
from deo.errors import BandError, SceneError
from deo.scene.assets import Asset, Inventory
from deo.scene.plane_source import PlaneSource
from deo.scene.sources import is_floating
from deo.scene.xarray_grid import Axes, axes_of, check_order, grid_of
from deo.sensors.evidence import Evidence, finite_number, packed_evidence
from deo.sensors.names import Names, describe_band, raster_bands
from deo.sensors.registry import DEFAULT_SENSOR, archive_evidence, tag_evidence

TIME = "time"
_NODATA = ("_fillvalue", "nodata", "missing_value")


class _Plane(NamedTuple):
    """One variable or band: what it is called, its numbers (y, x), and its attributes as text."""

    label: str
    array: Any
    tags: Mapping[str, str]


def is_xarray(source: Any) -> bool:
    """Whether something is a Dataset or DataArray; xarray is not imported for the question."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(source, xarray.Dataset | xarray.DataArray)


def xarray_assets(
    data: Any,
    bands: BandSet | None,
    *,
    nodata: float | None = None,
    crs: Any = None,
    transform: Any = None,
    overruled: bool = False,
) -> Inventory:
    """The bands of a Dataset with a variable for each, or of a DataArray (band, y, x).

    Args:
        bands: names of all of them in order, where they have none of their own.
        nodata, crs, transform: the caller's word, above what the object says.
        overruled: the caller gives scale and offset.

    Raises:
        SceneError, BandError, RadiometryError
    """
    name = _name(data)
    axes = axes_of(data)
    planes = list(_planes(data, axes, name))
    general = _texts(data.attrs) | _scalars(data)
    naming = _named(planes, general, bands, name)
    kept = [index for index, band in enumerate(naming.names) if band is not None]
    source = PlaneSource(
        path=name,
        planes=tuple(_data(planes[index].array) for index in kept),
        dtypes=tuple(np.dtype(planes[index].array.dtype).name for index in kept),
        nodatas=tuple(_nodata(planes[index]) if nodata is None else nodata for index in kept),
        grid=grid_of(data, axes, name=name, crs=crs, transform=transform),
    )
    assets = [
        Asset(
            band=str(naming.names[index]),
            source=source,
            index=position + 1,
            evidence=_evidence(
                {**general, **planes[index].tags}, source.dtypes[position], overruled
            ),
        )
        for position, index in enumerate(kept)
    ]
    ignored = [plane.label for plane, band in zip(planes, naming.names, strict=True) if not band]
    return Inventory(name, tuple(assets), naming.source, ignored=tuple(ignored))


def _name(data: Any) -> str:
    """A name for messages, with the date where there is one."""
    name = str(getattr(data, "name", None) or "xarray")
    if TIME in data.coords and data.coords[TIME].size == 1:
        when = data.coords[TIME].values.reshape(())
        if np.issubdtype(when.dtype, np.datetime64):
            stamp = np.datetime_as_string(when, unit="s")
            name = f"{name}_{stamp.replace('-', '').replace(':', '')}"
    return name


def _planes(data: Any, axes: Axes, name: str) -> Iterator[_Plane]:
    if hasattr(data, "data_vars"):
        for label, variable in data.data_vars.items():
            if axes.y in variable.dims and axes.x in variable.dims:
                check_order(variable, axes, what=f"variable {label}")
                tags = _texts(variable.attrs) | _scalars(variable)
                yield _Plane(str(label), _plane(variable, axes, f"variable {label}"), tags)
        return
    check_order(data, axes, what=name)
    others = [dim for dim in data.dims if dim not in (*axes, TIME)]
    layers = [dim for dim in others if dim == "band" or data.sizes[dim] > 1]
    if not layers:
        yield _Plane(str(data.name), _plane(data, axes, name), _scalars(data))
        return
    layer = "band" if "band" in layers else layers[0]
    spoken = data.attrs.get("long_name", ())
    spoken = spoken if isinstance(spoken, list | tuple) else (spoken,)
    for index in range(data.sizes[layer]):
        plane = data.isel({layer: index})
        label = str(plane.coords[layer].item()) if layer in plane.coords else ""
        if len(spoken) == data.sizes[layer] and (not label or label.isdigit()):
            label = str(spoken[index])
        yield _Plane(label or f"{layer} {index + 1}", _plane(plane, axes, name), _scalars(plane))


def _plane(array: Any, axes: Axes, what: str) -> Any:
    """An array (y, x) without its dimensions of length 1.

    Raises:
        SceneError: it has further dimensions, or no real numbers.
    """
    further = [dim for dim in array.dims if dim not in axes and array.sizes[dim] > 1]
    if TIME in further:
        raise SceneError(
            f"{what} holds {array.sizes[TIME]} dates and a scene is of one: take one with "
            f".isel(time=0), or give all of them to deo.features"
        )
    if further:
        raise SceneError(
            f"{what} has the dimensions ({', '.join(map(str, array.dims))}); wanted are band, "
            f"{axes.y}, {axes.x} and no others"
        )
    if np.dtype(array.dtype).kind not in "uif":
        raise SceneError(f"the numbers of {what} must be real, got {array.dtype}")
    return array.isel({dim: 0 for dim in array.dims if dim not in axes})


def _data(array: Any) -> Any:
    """What is behind an array: NumPy's or Dask's; xarray's own where it is not loaded yet."""
    if array.chunks is not None or isinstance(array.variable._data, np.ndarray):
        return array.data
    return array


def _named(
    planes: Sequence[_Plane], general: Mapping[str, str], bands: BandSet | None, name: str
) -> Names:
    labels = [_description(plane) for plane in planes]
    naming = raster_bands(labels, [plane.tags for plane in planes], general, name)
    if any(naming.names):
        places = {"descriptions": "labels", "band tags": "attributes"}
        parts = naming.source.split(" and ")
        return naming._replace(source=" and ".join(places.get(part, part) for part in parts))
    if bands is None:
        why = f"; not believed, since {naming.doubt}" if naming.doubt else ""
        raise BandError(
            f"{name} does not name its {len(planes)} band{'s' * (len(planes) != 1)} as "
            f"{DEFAULT_SENSOR.name} bands (labels: {', '.join(filter(None, labels)) or 'none'}"
            f"{why}). Rename them (B04 or red, for instance), or give the names of all of them in "
            "order: bands=('B04', 'B03', ...)"
        )
    if len(bands) != len(planes):
        raise BandError(
            f"{name} has {len(planes)} bands without names and bands= gives {len(bands)} ({bands});"
            " name every one, in order"
        )
    return Names(bands.names, "the caller, in order")


def _description(plane: _Plane) -> str | None:
    """The label, or the attribute that names a band where the label names none."""
    spoken = plane.tags.get("long_name")
    if spoken and describe_band(plane.label, DEFAULT_SENSOR).band is None:
        return spoken if describe_band(spoken, DEFAULT_SENSOR).band else plane.label
    return plane.label


def _texts(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Attributes that are texts or numbers, as text."""
    return {
        str(key): str(value)
        for key, value in attributes.items()
        if isinstance(value, str | bool | int | float | np.bool_ | np.number)
    }


def _scalars(data: Any) -> dict[str, str]:
    """Coordinates that hold one value, such as those that stackstac makes of STAC's properties."""
    return _texts(
        {name: each.item() for name, each in data.coords.items() if each.ndim == 0 and name != TIME}
    )


def _nodata(plane: _Plane) -> float | None:
    attributes = {str(key).lower(): value for key, value in plane.array.attrs.items()}
    said = [finite_number(str(attributes[key])) for key in _NODATA if key in attributes]
    return next((number for number in said if number is not None), None)


def _evidence(tags: Mapping[str, str], dtype: str, overruled: bool) -> tuple[Evidence, ...]:
    """What attributes say; those that xarray applied when it decoded a file are not among them."""
    packed = packed_evidence(tags, floating=is_floating(dtype), overruled=overruled)
    return tuple(dict.fromkeys((*tag_evidence(tags), *packed, *archive_evidence(tags=[tags]))))
