from collections.abc import Callable

import pytest
from rasterio.crs import CRS

from deo.describe.embeddings import Embeddings
from deo.describe.zarr_group import group_attributes

TOY = Embeddings(dimensions=5, dtype="float32", model="urn:deo:a", sources=("urn:deo:b",))


@pytest.mark.parametrize("crs", ["EPSG:32633", "+proj=geos +h=4e7", None])
def test_group_attributes__validate(valid: Callable[..., None], crs: str | None) -> None:
    attributes = group_attributes(
        TOY,
        crs=crs and CRS.from_user_input(crs),
        transform=(40, 0, 500_000, 0, -40, 5_000_000),
        shape=(30, 41),
        bbox=(0, 1, 2, 3),
    )
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    for name in ("geoemb", "spatial", *(["proj"] if crs else [])):
        valid(group, f"zarr-{name}.json")
    said = {each["name"] for each in attributes["zarr_conventions"]}
    assert said == {"geoemb:", "spatial"} | ({"proj:"} if crs else set())
    assert attributes["spatial:bbox"] == [0.0, 1.0, 2.0, 3.0]
