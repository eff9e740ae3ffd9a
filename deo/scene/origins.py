"""Where a raster's numbers come from: its file, and the files that a virtual raster reads."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from deo.errors import SceneError
from deo.scene.formats import Door
from deo.scene.gdal import is_remote
from deo.scene.raster import RasterSource
from deo.scene.safe import product_evidence, product_root
from deo.scene.sources import is_floating
from deo.sensors.evidence import Evidence, gdal_evidence, packed_evidence
from deo.sensors.registry import (
    archive_evidence,
    canonical_name,
    path_evidence,
    sensors,
    tag_evidence,
)

_SIDECARS = (".ovr", ".msk", ".aux.xml", ".xml", ".vrt.ovr")
_MOST_OPENED = 16  # files of a virtual raster; the names of all are read
_MOST_PRODUCTS = 64  # whose XML is read

# elements of a VRT by which its numbers are others than those of its files
_COMPUTED = re.compile(
    r"<LUT>|<Exponent>|PixelFunction|VRTDerivedRasterBand|VRTProcessedDataset|<Expression"
    r"|<ScaleRatio>(?!\s*1(?:\.0*)?\s*<)|<ScaleOffset>(?!\s*-?0(?:\.0*)?\s*<)"
)


class Origin(NamedTuple):
    """Where a raster's numbers come from, as far as is known.

    files: the raster's own path first, then those of the files that a virtual raster reads.
    sources: of those files, the ones that were opened; they are closed again.
    computed: a virtual raster changes the numbers of its files on the way.
    """

    files: tuple[str, ...]
    sources: tuple[RasterSource, ...]
    computed: bool


def origin(source: RasterSource) -> Origin:
    """The files behind a virtual raster; any other raster is its own origin."""
    if source.driver != "VRT":
        return Origin((source.path,), (), False)
    description = source.handle.use(
        "read its description", lambda dataset: dataset.tags(ns="xml:VRT")
    )
    computed = any(map(_COMPUTED.search, description.values()))
    files: dict[str, None] = {source.path: None}
    sources: list[RasterSource] = []
    waiting = _read_by(source)
    while waiting:
        path = waiting.pop(0)
        if path in files:
            continue
        files[path] = None
        if len(sources) == _MOST_OPENED:
            continue
        try:
            behind = RasterSource.open(path, door=Door.NAMED)
        except SceneError:
            continue  # reading it will tell
        sources.append(behind)
        if behind.driver == "VRT":
            computed |= origin(behind).computed
            waiting += _read_by(behind)
        behind.close()
    return Origin(tuple(files), tuple(sources), computed)


def _read_by(source: RasterSource) -> list[str]:
    return [path for path in source.files if not path.lower().endswith(_SIDECARS)]


class Evident(NamedTuple):
    """Facts about a raster's numbers.

    by_band: canonical band name -> facts, of those bands that were asked for.
    own_image: they are as the maker of the sensor's products stored them.
    """

    by_band: Mapping[str, tuple[Evidence, ...]]
    own_image: bool


def evident(
    source: RasterSource,
    behind: Origin,
    indexes: Mapping[str, int],
    *,
    product: Mapping[str, tuple[Evidence, ...]] | None,
    overruled: bool,
) -> Evident:
    """All that is known of the scale and offset of some bands, from wherever it may be stated.

    Args:
        indexes: canonical band name -> its position in the file, from 0.
        product: evidence by band from the product that it belongs to; None: look for one.
        overruled: the caller gives scale and offset.

    Raises:
        SceneError, RadiometryError
    """
    if behind.computed:
        behind = Origin(behind.files[:1], (), True)
    files, sources = behind.files, behind.sources
    places = [place for path in files for place in _places(path)]
    products = _products(places) if product is None else [product]
    named = tuple(fact for place in places for fact in path_evidence(place))
    own_image = bool(named or any(products)) or any(
        sensor.own_image.search(place) for sensor in sensors() for place in places
    )
    archive = archive_evidence(
        *places,
        tags=[{**one.tags, **one.band_tags[0]} for one in (source, *sources)],
    )
    by_band = {}
    for band, i in indexes.items():
        floating = is_floating(source.dtypes[i])
        facts = [fact for one in products for fact in one.get(band, ())]
        facts += gdal_evidence(
            source.gdal_scales[i], source.gdal_offsets[i], floating=floating, overruled=overruled
        )
        facts += _tags_say(
            band, source.tags, source.band_tags[i], floating=floating, overruled=overruled
        )
        facts += named
        for one in sources:
            for scale, offset in {*zip(one.gdal_scales, one.gdal_offsets, strict=True)}:
                facts += gdal_evidence(scale, offset, floating=floating, overruled=overruled)
            for tags in one.band_tags:
                facts += _tags_say(band, one.tags, tags, floating=floating, overruled=overruled)
        by_band[band] = tuple(dict.fromkeys((*facts, *archive)))
    return Evident(by_band, own_image=own_image and not archive)


def _tags_say(
    band: str,
    tags: Mapping[str, str],
    band_tags: Mapping[str, str],
    *,
    floating: bool,
    overruled: bool,
) -> tuple[Evidence, ...]:
    """What tags of a dataset and one of its bands say, the latter above the former."""
    # GDAL writes attributes of netCDF variables as NAME#attribute, too
    prefixed = {
        key.partition("#")[2]: value
        for key, value in tags.items()
        if canonical_name(key.partition("#")[0]) == band
    }
    merged = {**tags, **prefixed, **band_tags}
    return (*tag_evidence(merged), *packed_evidence(merged, floating=floating, overruled=overruled))


def _places(path: str) -> tuple[str, ...]:
    """A path as it is given and, where it is a link, that of the file itself."""
    if is_remote(path):
        return (path,)
    return tuple(dict.fromkeys((os.path.abspath(path), os.path.realpath(path))))


def _products(places: list[str]) -> list[Mapping[str, tuple[Evidence, ...]]]:
    """By band, what the XML of each product says that a place lies in."""
    folders = dict.fromkeys(Path(place).parent for place in places if not is_remote(place))
    roots = dict.fromkeys(root for folder in folders if (root := product_root(folder)) is not None)
    return [product_evidence(root) for root in list(roots)[:_MOST_PRODUCTS]]
