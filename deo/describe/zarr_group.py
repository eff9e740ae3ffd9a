"""Attributes of a Zarr group of embeddings under the conventions `proj:`, `spatial:`, `geoemb:`."""

from collections.abc import Sequence
from typing import Any

from deo.describe.embeddings import Embeddings, convention
from deo.describe.stac import projection

_PROJ = {
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1"
    "/schema.json",
    "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "description": "Coordinate reference system information for geospatial data",
}
_SPATIAL = {
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1"
    "/schema.json",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "description": "Spatial coordinate information",
}


def group_attributes(
    embeddings: Embeddings,
    *,
    crs: Any,
    transform: Sequence[float],
    shape: tuple[int, int],
    bbox: Sequence[float],
) -> dict[str, Any]:
    """What a group says of its map; without a reference system nothing under `proj:`.

    Args:
        crs: of rasterio's, or None.
        transform: the six numbers from columns and rows to coordinates.
        shape: rows and columns.
        bbox: least x, least y, greatest x, greatest y.
    """
    place = projection(crs)
    return {
        "zarr_conventions": [*([_PROJ] if place else []), _SPATIAL, convention()],
        **embeddings.zarr_attributes(),
        **place,
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(shape),
        "spatial:transform": list(transform),
        "spatial:bbox": [float(side) for side in bbox],
        "spatial:registration": "pixel",
    }
