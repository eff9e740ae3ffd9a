from collections.abc import Callable
from typing import Any

import pytest

from deo.describe.models import Result, Weights, model_item
from deo.describe.stac import ANYWHERE, STAC_VERSION

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


def test_model_item__validates(valid: Callable[..., None]) -> None:
    weights = Weights(href="https://a/b.pth", title="a", safetensors=False, sha256="ab" * 32)
    for made in (described(), described(weights=weights, contract=CONTRACT | {"name": "scene"})):
        valid(made, "stac/item.json")
        valid(made, "mlm.json")


def test_model_item__has_what_the_extension_asks_for() -> None:
    made = described()
    properties = made["properties"]
    assert made["stac_version"] == STAC_VERSION
    assert {"mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"} <= set(
        properties
    )
    assert properties["mlm:framework"] == "PyTorch"
    (given,) = properties["mlm:input"]
    assert given["bands"] == ["B04", "B03"]
    assert given["input"]["dim_order"][1] == "bands"
    assert given["input"]["shape"] == [-1, 2, 224, 224]
    assert given["value_scaling"][1] == {"type": "z-score", "mean": 2.0, "stddev": 4.0}
    (asset,) = made["assets"].values()
    assert "mlm:model" in asset["roles"]
    assert [band["name"] for band in asset["bands"]] == given["bands"]
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
