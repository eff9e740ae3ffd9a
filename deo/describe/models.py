"""STAC items of models under the Machine Learning Model extension."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from deo.describe.stac import Extent, item

MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_ACCELERATORS = {"cpu": "amd64", "cuda": "cuda", "mps": "macos-arm", "xla": "xla"}
_CLAMPED = ("fixed", "pretrain", "scene")  # contracts with more to them than mean and deviation


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights, as an item's asset.

    Args:
        href: URL, or path beside the item.
        title: what it is, in words.
        safetensors: else a file of PyTorch's.
        sha256: 64 hexadecimal digits; None where they are not known.
    """

    href: str
    title: str
    safetensors: bool
    sha256: str | None = None

    def asset(self) -> dict[str, Any]:
        """The asset, with the role and the kind of file that the extension asks for."""
        application = "safetensors" if self.safetensors else "pytorch"
        kind = "safetensors.torch.save_file" if self.safetensors else "torch.save"
        # a multihash: 12 says SHA-256, 20 its length in bytes
        checksum = {} if self.sha256 is None else {"file:checksum": f"1220{self.sha256}"}
        return {
            "href": self.href,
            "type": f"application/octet-stream; application={application}",
            "title": self.title,
            "roles": ["mlm:model", "mlm:weights"],
            "mlm:artifact_type": kind,
            **checksum,
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a model gives for one image.

    Args:
        name: what it is, in words.
        shape: without the batch; -1 where it depends on the input.
        axes: name of each dimension of `shape`.
        tasks: of the extension's list, what it serves.
        classes: what the first dimension counts, where it counts classes.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    tasks: tuple[str, ...] = ("similarity-search",)  # the one that embeddings serve as they are
    classes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """A model output of the extension."""
        return {
            "name": self.name,
            "tasks": list(self.tasks),
            "result": {
                "shape": [-1, *self.shape],
                "dim_order": ["batch", *self.axes],
                "data_type": "float32",
            },
            **(
                {"classification:classes": [{"value": n, "name": c} for n, c in named]}
                if (named := list(enumerate(self.classes)))
                else {}
            ),
        }


def model_item(
    name: str,
    extent: Extent,
    *,
    model: str,
    contract: Mapping[str, Any],
    side: int,
    result: Result,
    weights: Weights,
    pretrained: bool = True,
    device: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A backbone under the Machine Learning Model extension.

    Args:
        name: the item's id.
        model: the backbone's name.
        contract: record of the contract from digital numbers to input.
        side: of the images, in pixels.
        result: what one image gives.
        device: type of the device that it runs on; None where it was not run.
        properties: further ones.
    """
    bands = [{"name": band} for band in contract["bands"]]
    described = {
        # an input refers to them by name; STAC allows bands here if there are some in an asset too
        "bands": bands,
        "mlm:name": model,
        "mlm:architecture": "Swin Transformer" if "swin" in model else "Vision Transformer",
        "mlm:tasks": list(result.tasks),
        "mlm:framework": "PyTorch",
        "mlm:framework_version": version("torch").split("+")[0],
        **({} if device is None else {"mlm:accelerator": _ACCELERATORS.get(device)}),
        "mlm:pretrained": pretrained,
        "mlm:input": [_model_input(contract, side)],
        "mlm:output": [result.record()],
    }
    return item(
        name,
        extent,
        extensions=[MLM, *([] if weights.sha256 is None else [FILE])],
        properties=described | dict(properties or {}),
        assets={"weights": {**weights.asset(), "bands": bands}},
    )


def _model_input(contract: Mapping[str, Any], side: int) -> dict[str, Any]:
    bands = list(contract["bands"])
    described: dict[str, Any] = {
        "name": f"{len(bands)} Sentinel-2 bands as digital numbers (reflectance x 10000) without "
        f"offset, contract {contract['name']}",
        "bands": bands,
        "input": {
            "shape": [-1, len(bands), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(contract["mean"], contract["std"], strict=True)
        ],
        "resize_type": None,
    }
    if contract["name"] in _CLAMPED:
        described["pre_processing_function"] = {
            "format": "python",
            "expression": "deo.contracts:Contract.apply",
        }
    return described
