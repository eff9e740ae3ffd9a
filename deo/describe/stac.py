"""STAC items and collections as plain JSON.

What `deo extract` writes beside its outputs and what `deo export` writes beside weights come from
here, so that both say the same thing in the same words and under the same versions.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STAC_VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where and when an item's subject lies.

    Args:
        geometry: GeoJSON in degrees.
        bbox: west, south, east, north in degrees.
        sensed: None where it is not known: then any time since the first Sentinel-2.
    """

    geometry: Mapping[str, Any]
    bbox: Sequence[float]
    sensed: dt.datetime | None = None

    def when(self) -> dict[str, Any]:
        """The properties that tell the time."""
        if self.sensed is not None:
            return {"datetime": self.sensed.strftime(_TIME)}
        return {
            "datetime": None,
            "start_datetime": "2015-06-23T00:00:00Z",  # Sentinel-2A was launched
            # items need an end, and the clock would make the bytes depend on the day of the run
            "end_datetime": "9999-12-31T23:59:59Z",
        }


ANYWHERE = Extent(
    geometry={
        "type": "Polygon",
        "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
    },
    bbox=(-180, -90, 180, 90),
)
"""For a model that is bound to no scene."""


def item(
    name: str,
    extent: Extent,
    *,
    extensions: Sequence[str],
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    links: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A STAC item."""
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(extensions),
        "id": name,
        "geometry": dict(extent.geometry),
        "bbox": list(extent.bbox),
        "properties": {**extent.when(), **properties},
        "links": list(links),
        "assets": dict(assets),
    }


def collection(
    name: str,
    description: str,
    *,
    extensions: Sequence[str],
    bbox: Sequence[float],
    times: Sequence[str | None],
    fields: Mapping[str, Any],
    links: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A STAC collection of items.

    Args:
        bbox: west, south, east, north of all items.
        times: of each item; None where it is not known, and then that of the collection is open.
        fields: further ones.
    """
    known = sorted(time for time in times if time is not None)
    interval = [known[0], known[-1]] if len(known) == len(times) else [None, None]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(extensions),
        "id": name,
        "description": description,
        "license": "other",  # that of the scenes and of the weights, which nobody told us
        "extent": {"spatial": {"bbox": [list(bbox)]}, "temporal": {"interval": [interval]}},
        **fields,
        "links": list(links),
    }


def in_collection(described: Mapping[str, Any], name: str, href: str) -> dict[str, Any]:
    """An item as a member of a collection, and of no other."""
    others = [link for link in described["links"] if link["rel"] != "collection"]
    link = {"rel": "collection", "href": href, "type": "application/json"}
    return {**described, "collection": name, "links": [*others, link]}


def projection(crs: Any) -> dict[str, str]:
    """The `proj:` field of a coordinate reference system of rasterio's.

    That is its code where an authority numbers it, or else its WKT2; never both, which Zarr's
    convention forbids.
    """
    authority = None if crs is None else crs.to_authority()
    if authority and authority[0].isalpha() and authority[1].isdigit():
        return {"proj:code": ":".join(authority)}
    return {} if crs is None else {"proj:wkt2": crs.to_wkt(version="WKT2_2019")}
