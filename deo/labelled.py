"""Labelled arrays in, labelled arrays out: `deo.features`."""

from functools import lru_cache, partial
from typing import Any

from deo.api import Extraction, chosen
from deo.errors import ConfigError, require
from deo.maps.cache import gdal_settings
from deo.maps.lazy import lazy_map
from deo.maps.memory import IN_MEMORY, map_arrays
from deo.maps.runner import FeatureModel
from deo.scene.plane_source import PlaneSource
from deo.scene.scene import Scene
from deo.scene.xarray_assets import TIME, is_xarray
from deo.scene.xarray_grid import data_array


def features(data: Any, *, extraction: Extraction | None = None, **settings: Any) -> Any:
    """Turn an xarray object into features, lazily where it is lazy (Dask).

    Blocks of a lazy map are computed through the tiles that `deo.extract` would cut the scene into,
    whatever the chunks are, so that the numbers are the same within 1e-5. Opening looks at a sample
    of the data for nothing but their unit, fill values and the contract `scene`.

    Args:
        data: a Dataset with a variable for each band, or a DataArray (band, y, x), with coordinates
            and a reference system as rioxarray or odc-geo write them; with a dimension `time` each
            date is a scene of its own, and a contract `scene` is fitted over all of them.
        extraction: settings made before; then `settings` stay empty.
        settings: fields of `Extraction`: model, contract, layer, weights, tile, ... Of a lazy map
            `batch_size` is 1 unless it is given.

    Returns:
        A DataArray (feature, y, x), or (time, feature, y, x), float32, NaN where there are no data;
        its attributes are the tags that a file would have.

    Raises:
        DeoError: one of its children says what was wrong and what to do.

    Example:
        >>> deo.features(dataset, model="deo_swin_b", layer=2)  # doctest: +SKIP
    """
    plan = chosen(extraction, settings)
    if not is_xarray(data):
        raise ConfigError(
            f"deo.features takes an xarray Dataset or DataArray, got {type(data).__name__}; "
            "deo.extract takes paths and arrays"
        )
    if plan.layer is None:
        raise ConfigError("deo.features gives one layer, got layer='all'; call it once for each")
    if plan.components is not None:
        raise ConfigError("components are fitted to the whole map of a file; give none")
    if TIME not in data.dims:
        return _of_scene(plan, data)
    return _of_dates(plan, data)


def _of_dates(plan: Extraction, data: Any) -> Any:
    xarray: Any = require("xarray", extra="xarray")
    if not data.sizes[TIME]:
        raise ConfigError("the xarray object has a dimension time without a date")
    dates = [data.isel({TIME: index}) for index in range(data.sizes[TIME])]
    if plan.contract == "scene":
        plan = plan.fitted_over(dates)
    maps = [_of_scene(plan, date) for date in dates]
    index = data.coords.get(TIME, TIME)
    joined = xarray.concat(maps, index, coords="minimal", compat="override", join="override",
                           combine_attrs="drop_conflicts")  # fmt: skip
    joined.encoding["grid_mapping"] = "spatial_ref"
    return joined


def _of_scene(plan: Extraction, data: Any) -> Any:
    with gdal_settings(), plan.open(data) as scene:
        job = plan.job(scene, IN_MEMORY)
        source = scene.assets[0].source
        if not (isinstance(source, PlaneSource) and source.is_dask):
            return map_arrays(job)[0].to_xarray()
        info = job.outputs[0].info
        return data_array(
            lazy_map(job, partial(_model, plan), batch_size=plan.batch_size),
            info.names,
            dimension="feature",
            crs=info.crs,
            transform=info.transform,
            attributes=info.tags,
            name="features",
        )


def _model(plan: Extraction, scene: Scene) -> FeatureModel:
    return _shared(plan).load(scene).model


@lru_cache(maxsize=4)
def _shared(plan: Extraction) -> Extraction:
    """The first of equal plans in this process, which keeps the model that it loaded."""
    return plan
