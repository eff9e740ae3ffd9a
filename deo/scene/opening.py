"""From what a user points at to a scene: its bands found, laid on one grid, their units decided."""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from affine import Affine

from deo.bands import BandSet
from deo.errors import SceneError
from deo.scene.assets import Asset, Inventory, choose
from deo.scene.earth import check_proj
from deo.scene.fill import with_undeclared_fill
from deo.scene.find import array_assets, find
from deo.scene.formats import Door
from deo.scene.grid import relate
from deo.scene.mask import Mask, mask_source, with_zero_convention
from deo.scene.mask_request import masks_of
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene
from deo.scene.sources import Source
from deo.scene.stac_assets import stac_assets
from deo.scene.stac_item import is_stac_object, is_stac_path, single_item
from deo.scene.units import FloatJudge, with_float_evidence
from deo.scene.xarray_assets import is_xarray, xarray_assets
from deo.sensors.floats import float_evidence
from deo.sensors.radiometry import Radiometry, decide
from deo.sensors.registry import sensor_of

log = logging.getLogger(__name__)


def open_scene(
    source: Any,
    *,
    bands: BandSet | Iterable[str] | str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    resolution: float | None = None,
    nodata: float | None = None,
    crs: Any = None,
    transform: Affine | None = None,
    mask: str | os.PathLike[str] | Mask | None = None,
    mask_classes: Sequence[int] | None = None,
    door: Door = Door.NAMED,
    judge_floats: FloatJudge = float_evidence,
) -> Scene:
    """Open something as a scene.

    Args:
        source: a raster file or URL (`https://`, `s3://`), a `.SAFE` folder or zip, a folder or
            list of files with one band each, a STAC item (JSON, GeoParquet with `#ID`, a pystac
            object), an xarray Dataset or DataArray, or an array (C, H, W), masked or not.
        bands: for an array or a file that names no band, the names of all of its bands in order;
            otherwise which of the named bands to use.
        scale, offset: digital number = stored x scale + offset, above all evidence; the digital
            numbers are reflectance x 10 000.
        resolution: pixel size in units of the CRS; None: that of the finest band.
        nodata, crs, transform: of an array, which says none of these itself; of an xarray object,
            above what it says.
        mask: what takes pixels out besides: `clouds` for the scene classification (SCL) beside the
            bands; a raster file on any grid, whose numbers other than 0 are out; or a `Mask`.
        mask_classes: the numbers of a classification or file that are out instead.
        door: how a path came in, which decides what its file may be.
        judge_floats: tells the unit of floating-point numbers, where no metadata do; for an image
            that belongs to a data set of one unit.

    Raises:
        SceneError: it cannot be opened, its parts do not fit together, or the mask does not.
        ConfigError: mask classes are given where there is no raster for them.
        BandError: bands are unnamed, missing or there twice.
        RadiometryError: the evidence for scale and offset is contradictory.
    """
    wanted = _band_set(bands)
    # 0 and 0.0 are one setting, and give one text in the metadata
    scale, offset = (None if number is None else float(number) for number in (scale, offset))
    inventory = _find(
        source,
        wanted,
        own=_Own(nodata, crs, transform),
        resolution=resolution,
        overruled=scale is not None and offset is not None,
        door=door,
    )
    try:
        numbers = {"scale": scale, "offset": offset, "resolution": resolution}
        scene = _assemble(inventory, wanted, judge_floats=judge_floats, **numbers)
        masks = masks_of(mask, mask_classes, inventory=inventory, grid=scene.grid)
        return scene.masked(*masks) if masks else scene
    except BaseException:
        for asset in inventory.assets:
            asset.source.close()
        raise


def _band_set(bands: BandSet | Iterable[str] | str | None) -> BandSet | None:
    if bands is None or isinstance(bands, BandSet):
        return bands
    return BandSet.parse(bands) if isinstance(bands, str) else BandSet(bands)


class _Own(NamedTuple):
    """What the caller says of an array, which cannot say it itself."""

    nodata: float | None
    crs: Any
    transform: Any


def _find(
    source: Any,
    wanted: BandSet | None,
    *,
    own: _Own,
    resolution: float | None,
    overruled: bool,
    door: Door,
) -> Inventory:
    """The named bands of whatever a user points at."""
    said = own._asdict()
    if isinstance(source, np.ndarray):
        return array_assets(source, wanted, **said)
    if is_xarray(source):
        return xarray_assets(source, wanted, overruled=overruled, **said)
    if any(value is not None for value in own):
        raise SceneError("nodata, crs and transform are for arrays; files state them themselves")
    if is_stac_object(source) or is_stac_path(source):
        item = single_item(source)
        return stac_assets(item, wanted, resolution=resolution, overruled=overruled)
    return find(source, door=door, bands=wanted, resolution=resolution, overruled=overruled)


def _assemble(
    inventory: Inventory,
    wanted: BandSet | None,
    *,
    scale: float | None,
    offset: float | None,
    resolution: float | None,
    judge_floats: FloatJudge,
) -> Scene:
    """Choose the assets, put them on one grid and decide their radiometry."""
    assets = _chosen(inventory, wanted, resolution)
    bands = BandSet(asset.band for asset in assets)
    grid = min((asset.source.grid for asset in assets), key=lambda grid: grid.pixel)
    if resolution is not None:
        grid = grid.at_resolution(resolution)
    if grid.crs is not None or grid.georeferenced:  # of which a wrong database would lose the CRS
        check_proj()
    sources = {id(asset.source): asset.source for asset in assets}
    related = {key: relate(grid, one.grid, label=one.label) for key, one in sources.items()}
    relations = tuple(related[id(asset.source)] for asset in assets)
    assets = with_float_evidence(assets, overruled=scale is not None, judge=judge_floats)
    evidence = [asset.evidence for asset in assets]
    radiometry = decide(bands, evidence, scale=scale, offset=offset)
    assets, filled = with_undeclared_fill(assets, name=inventory.name, scale=scale)
    assets = with_zero_convention(assets, radiometry)
    notes = (*inventory.notes, *_notes(inventory.name, assets[0].source, radiometry), *filled)
    for note in notes:
        log.warning("%s", note)
    return Scene(
        name=inventory.name,
        bands=bands,
        grid=grid,
        radiometry=radiometry,
        names_source=inventory.names_source,
        mask_source=mask_source(assets),
        ignored=inventory.ignored,
        documents=inventory.documents,
        notes=notes,
        assets=assets,
        relations=relations,
    )


def _chosen(
    inventory: Inventory, wanted: BandSet | None, resolution: float | None
) -> tuple[Asset, ...]:
    """The assets that are used; the sources of all others are closed."""
    assets = choose(inventory, wanted, resolution)
    for asset in inventory.assets:
        if all(asset.source is not kept.source for kept in assets):
            asset.source.close()
    return assets


def _notes(name: str, source: Source, radiometry: Radiometry) -> list[str]:
    """What a user ought to know before relying on the scene."""
    notes = []
    if radiometry.assumed:
        sensor = sensor_of(radiometry.bands[0])
        small = (
            f"; 8-bit numbers cannot be {sensor.name} digital numbers" if _is_byte(source) else ""
        )
        notes.append(f"{name}: nothing says {sensor.assumption}{small}")
    if isinstance(source, RasterSource) and not source.grid.georeferenced:
        place = (
            "has ground control points but no transform; warp it (gdalwarp) to place results on "
            "a map"
            if source.has_gcps
            else "has no georeference"
        )
        notes.append(f"{name} {place}; results are in pixel coordinates")
    elif source.grid.crs is None and isinstance(source, RasterSource):
        notes.append(f"{name} has a transform but no CRS; results have none either")
    return notes


def _is_byte(source: Source) -> bool:
    return source.dtypes[0] in ("uint8", "int8")
