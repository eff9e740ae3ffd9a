"""The bands of a STAC item: which asset is which, and what the item says of its numbers."""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from deo.bands import BandSet
from deo.errors import BandError, DeoError, SceneError
from deo.scene.assets import Asset, ClassLayer, Inventory, raster_assets
from deo.scene.formats import Door
from deo.scene.stac_grid import check_grid
from deo.scene.stac_item import StacItem, as_tags
from deo.sensors.evidence import Evidence, gdal_evidence
from deo.sensors.names import is_ancillary, is_classification, raster_bands
from deo.sensors.registry import archive_evidence, tag_evidence

_UNUSED = frozenset(["thumbnail", "overview", "visual", "metadata"])  # roles
_PICTURES = ("visual", "preview", "rendered", "thumbnail", "tci", "overview")  # begin keys
_RASTERS = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "application/x-geotiff")
_SUFFIXES = (".tif", ".tiff", ".jp2")


class _Band(NamedTuple):
    """A band of an asset, and what the item says of it.

    place, places: which of the file's bands it is, from 1, and how many there are.
    """

    band: str
    key: str
    place: int
    places: int
    facts: Mapping[str, Any]


def stac_assets(
    item: StacItem, bands: BandSet | None, *, resolution: float | None, overruled: bool
) -> Inventory:
    """The bands of an item, opened.

    Args:
        bands: which are wanted; None: all that the item has.
        resolution: pixel size that is preferred where a band is there at several.
        overruled: the caller gives scale and offset.

    Raises:
        BandError: no asset is a band.
        SceneError: an asset cannot be read, or is not where the item says.
        RadiometryError: what the item says of its numbers contradicts itself.
    """
    offered = list(_offered(item))
    if not offered:
        raise _no_band(item)
    chosen = _choose(item, offered, bands, resolution)
    opened: list[Asset] = []
    try:
        for key in dict.fromkeys(one.key for one in chosen):
            mine = [one for one in chosen if one.key == key]
            named = BandSet(one.band for one in offered if one.key == key)
            told = named if len(named) == mine[0].places else None
            opened += _open(item, mine, told, overruled=overruled)
    except BaseException:
        for asset in opened:
            asset.source.close()
        raise
    used = {one.key for one in chosen}
    ignored = tuple(f"asset {key}" for key in item.assets if key not in used)
    return Inventory(
        item.name,
        tuple(opened),
        "the STAC item",
        ignored=ignored,
        classification=_classification(item),
        documents=() if item.place is None else (item.place,),
    )


def _classification(item: StacItem) -> ClassLayer | None:
    """The scene classification (SCL), the finest of several; it is not opened before it is used."""
    offered = [
        (_pixel_size(asset, _Band("", key, 1, 1, {}), item), key)
        for key, asset in item.assets.items()
        if _is_raster(asset) and (is_classification(key) or is_classification(asset["href"]))
    ]
    if not offered:
        return None
    with contextlib.suppress(SceneError):  # one that may not be read is no reason to refuse bands
        return ClassLayer(item.locate(item.assets[min(offered)[1]]["href"]), 1, Door.MEMBER)
    return None


def _no_band(item: StacItem) -> BandError:
    sensor, sign = item.recognised
    if sensor is None:
        return BandError(f"{item.name} is of another sensor, told by {sign}")
    return BandError(
        f"{item.name} has no asset that is a band of {sensor.name}: its assets are "
        f"{', '.join(item.assets) or 'none'}. A band is told by eo:bands or bands (B04, red), or "
        "by the asset's key"
    )


def _offered(item: StacItem) -> Iterator[_Band]:
    """Every band of every asset that is a raster of measurements."""
    for key, asset in item.assets.items():
        said = asset.get("roles")
        roles = set(map(str, said)) if isinstance(said, list) else set()
        if roles & _UNUSED or not _is_raster(asset) or key.lower().startswith(_PICTURES):
            continue
        if is_ancillary(key) or is_ancillary(asset["href"].partition("?")[0]):
            continue
        entries = _entries(asset)
        labels = [key] if len(entries) == 1 else [None] * len(entries)
        tags = [as_tags(entry) for entry in entries]
        naming = raster_bands(labels, tags, item.tags, f"{item.name}/{key}")
        for place, (band, facts) in enumerate(zip(naming.names, entries, strict=True), 1):
            if band is not None:
                yield _Band(band, key, place, len(entries), facts)


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind = str(asset.get("type") or "").lower()
    path = asset["href"].partition("?")[0].lower()
    return kind.startswith(_RASTERS) if kind else path.endswith(_SUFFIXES)


def _entries(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an asset says of each of its bands, of all extensions together."""
    said = [asset.get(name) for name in ("eo:bands", "raster:bands", "bands")]
    lists = [one for one in said if isinstance(one, list) and one]
    count = max((len(one) for one in lists), default=1)
    entries: list[dict[str, Any]] = [{} for _ in range(count)]
    for one in lists:
        if len(one) == count:
            for entry, more in zip(entries, one, strict=True):
                entry.update(more if isinstance(more, Mapping) else {})
    for entry in entries:  # what holds for all bands stands at the asset from STAC 1.1 on
        for name in ("raster:scale", "raster:offset"):
            if name in asset:
                entry.setdefault(name, asset[name])
    return entries


def _choose(
    item: StacItem, offered: Sequence[_Band], bands: BandSet | None, resolution: float | None
) -> list[_Band]:
    """One asset for each band: at the resolution asked for, else the finest; COG before others."""
    names = tuple(dict.fromkeys(one.band for one in offered))
    if bands is not None:
        try:
            bands.positions_in(names)
        except BandError as error:
            raise BandError(f"{item.name}: {error} (names from the STAC item)") from None

    def rank(one: _Band) -> tuple[bool, bool, float, bool]:
        asset = item.assets[one.key]
        size = _pixel_size(asset, one, item)
        return (
            one.places > 1,
            resolution is not None and size != resolution,
            size,
            "cloud-optimized" not in str(asset.get("type")),
        )

    return [
        min((one for one in offered if one.band == band), key=rank)
        for band in (names if bands is None else bands)
    ]


def _pixel_size(asset: Mapping[str, Any], one: _Band, item: StacItem) -> float:
    """In units of the reference system, as far as it is stated."""
    transform = asset.get("proj:transform")
    if isinstance(transform, list) and transform and isinstance(transform[0], int | float):
        return abs(float(transform[0]))
    for facts, names in (
        (one.facts, ("spatial_resolution", "raster:spatial_resolution", "gsd")),
        (asset, ("raster:spatial_resolution", "gsd")),
        (item.properties, ("gsd",)),
    ):
        for name in names:
            if isinstance(facts.get(name), int | float):
                return float(facts[name])
    said = re.search(r"_(\d\d)m$", one.key)  # B04_10m, as ESA's catalogue has it
    return float(said[1]) if said else math.inf


def _open(
    item: StacItem, mine: Sequence[_Band], told: BandSet | None, *, overruled: bool
) -> list[Asset]:
    """The assets of one file, with what the item says of them.

    Args:
        mine: bands of one asset.
        told: all bands of the file in order, where the item names them all.
    """
    key = mine[0].key
    described = item.assets[key]
    address = item.locate(described["href"])
    try:
        inventory = raster_assets(address, door=Door.MEMBER, bands=told, overruled=overruled)
    except DeoError as error:
        raise type(error)(
            f"{item.name}, asset {key}: {error}", retriable=error.retriable
        ) from error
    source = inventory.assets[0].source
    try:
        check_grid(source.grid, described, item, key)
        by_index = {asset.index: asset for asset in inventory.assets}
        for one in mine:
            stored = by_index.get(one.place)
            if stored is None or stored.band != one.band:
                raise BandError(
                    f"{item.name} says that band {one.place} of asset {key} is {one.band}, and the "
                    f"file says {stored.band if stored else 'something else'}"
                )
        return [_known(by_index[one.place], item, one, overruled=overruled) for one in mine]
    except BaseException:
        source.close()
        raise


def _known(asset: Asset, item: StacItem, one: _Band, *, overruled: bool) -> Asset:
    """An asset with what the item says of its numbers beside what the file says."""
    numbers = [_number(one.facts, name) for name in ("scale", "offset")]
    stated: tuple[Evidence, ...] = gdal_evidence(
        1.0 if numbers[0] is None else numbers[0],
        0.0 if numbers[1] is None else numbers[1],
        floating=asset.floating,
        overruled=overruled,
        source=f"{item.name}:",
    )
    facts = tag_evidence(item.tags)
    rescaled = archive_evidence(tags=[item.tags])
    return replace(
        asset,
        evidence=tuple(dict.fromkeys((*asset.evidence, *stated, *facts, *rescaled))),
        zero_is_nodata=asset.zero_is_nodata or (bool(facts) and not rescaled),
    )


def _number(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name, facts.get(f"raster:{name}"))
    return float(value) if isinstance(value, int | float) else None
