import datetime as dt
from typing import Any

import pytest

from deo.describe import ANYWHERE, STAC_VERSION, Extent, Result, Weights, model_item

CONTRACT = {"name": "s2", "bands": ["B04", "B03"], "mean": [1.0, 2.0], "std": [3.0, 4.0]}


def described(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": "deo_swin_b",
        "contract": CONTRACT,
        "side": 224,
        "result": Result(name="features", shape=(8, -1, -1), axes=("channel", "height", "width")),
        "weights": Weights(href="./a.safetensors", title="a", safetensors=True),
    }
    return model_item("a", ANYWHERE, **(arguments | changes))


def test_model_item__has_what_the_extension_asks_for() -> None:
    made = described()
    properties = made["properties"]
    assert made["stac_version"] == STAC_VERSION
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"} <= set(
        properties
    )
    assert properties["mlm:framework"] == "PyTorch"
    (given,) = properties["mlm:input"]
    assert [band["name"] for band in properties["bands"]] == given["bands"] == ["B04", "B03"]
    assert given["input"]["dim_order"][1] == "bands"
    assert given["input"]["shape"] == [-1, 2, 224, 224]
    assert given["value_scaling"][1] == {"type": "z-score", "mean": 2.0, "stddev": 4.0}
    (asset,) = made["assets"].values()
    assert "mlm:model" in asset["roles"]
    assert asset["mlm:artifact_type"] == "safetensors.torch.save_file"


@pytest.mark.parametrize("name", ["pretrain", "scene", "s2", "fixed", "stats"])
def test_model_item__says_when_scaling_is_not_all(name: str) -> None:
    (given,) = described(contract=CONTRACT | {"name": name})["properties"]["mlm:input"]
    assert ("pre_processing_function" in given) == (name in ("fixed", "pretrain", "scene"))


@pytest.mark.parametrize(
    ("device", "wanted"), [("cpu", "amd64"), ("cuda", "cuda"), ("mps", "macos-arm"), ("hpu", None)]
)
def test_model_item__names_accelerators_of_the_extension(device: str, wanted: str | None) -> None:
    assert described(device=device)["properties"]["mlm:accelerator"] == wanted
    assert "mlm:accelerator" not in described()["properties"]


def test_weights__a_checksum_needs_its_extension() -> None:
    weights = Weights(href="a.pth", title="a", safetensors=False, sha256="ab" * 32)
    made = described(weights=weights)
    assert made["assets"]["weights"]["file:checksum"] == "1220" + "ab" * 32
    assert any("/file/" in extension for extension in made["stac_extensions"])
    assert not any("/file/" in extension for extension in described()["stac_extensions"])


def test_extent__a_time_or_all_of_sentinel_2() -> None:
    sensed = dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    known = Extent(geometry=ANYWHERE.geometry, bbox=ANYWHERE.bbox, sensed=sensed)
    assert known.when() == {"datetime": "2024-05-06T07:08:09Z"}
    assert ANYWHERE.when()["datetime"] is None
    assert ANYWHERE.when()["start_datetime"] < ANYWHERE.when()["end_datetime"]
