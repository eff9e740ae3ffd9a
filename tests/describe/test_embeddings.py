import json
from collections.abc import Callable
from typing import Any

import pytest

from deo.describe.embeddings import EMBEDDINGS, Embeddings, convention
from deo.describe.stac import ANYWHERE, item


def embeddings(**changes: Any) -> Embeddings:
    facts: dict[str, Any] = {
        "dimensions": 5,
        "dtype": "float32",
        "model": "urn:deo:model:toy:0",
        "sources": ("urn:deo:scene:a.tif",),
    }
    return Embeddings(**(facts | changes))


@pytest.mark.parametrize("chip", [None, 224])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_embeddings__validate(valid: Callable[..., None], dtype: str, chip: int | None) -> None:
    made = embeddings(dtype=dtype, chip=chip, nodata=-128 if dtype == "int8" else None)
    properties = made.item_properties()
    described = item(
        "a",
        ANYWHERE,
        extensions=[EMBEDDINGS],
        properties=properties,
        assets={"embeddings": {"href": "./a.tif"}},
    )
    valid(described, "embeddings-stac.json")
    attributes = {"zarr_conventions": [convention()], **made.zarr_attributes()}
    valid({"zarr_format": 3, "node_type": "group", "attributes": attributes}, "zarr-geoemb.json")
    quantised = dtype == "int8"
    assert ("emb:quantization" in properties) is quantised
    assert ("geoemb:quantization" in attributes) is quantised
    assert (properties["deo:type"], properties["deo:dimensions"]) == (
        "chip" if chip else "pixel",
        5,
    )


def test_parquet_metadata__holds_the_scales_of_int8() -> None:
    said = embeddings(dtype="int8", chip=32, nodata=-128).parquet_metadata([0.5, 0.25])
    assert json.loads(json.dumps(said)) == said
    assert said["quantization"]["scale"] == [0.5, 0.25]
    assert said["chip_layout"]["chip_size"] == [32, 32]
    assert said["type"] == "chip"
    assert "quantization" not in embeddings(chip=32).parquet_metadata(None)
