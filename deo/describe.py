"""STAC items of features and of the models that make them, as plain JSON.

What `deo extract` writes beside its outputs and what `deo export` writes beside weights come from
here, so that both say the same thing in the same words and under the same versions.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

STAC_VERSION = "1.1.0"
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_TASKS = ["similarity-search"]  # of the extension's closed list the one that embeddings serve as is
_ACCELERATORS = {"cpu": "amd64", "cuda": "cuda", "mps": "macos-arm", "xla": "xla"}
_CLAMPED = ("fixed", "pretrain", "scene")  # contracts with more to them than mean and deviation


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
            return {"datetime": self.sensed.strftime("%Y-%m-%dT%H:%M:%SZ")}
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
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """A model output of the extension."""
        return {
            "name": self.name,
            "tasks": _TASKS,
            "result": {
                "shape": [-1, *self.shape],
                "dim_order": ["batch", *self.axes],
                "data_type": "float32",
            },
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
    described = {
        # STAC 1.1 has the bands themselves here; an input refers to them by name
        "bands": [{"name": band} for band in contract["bands"]],
        "mlm:name": model,
        "mlm:architecture": "Swin Transformer" if "swin" in model else "Vision Transformer",
        "mlm:tasks": _TASKS,
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
        assets={"weights": weights.asset()},
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
