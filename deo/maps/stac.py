"""STAC beside an output: an item with the embedding fields, and an MLM description of the model.

The items are plain JSON, so that writing them needs no further package.
"""

import json
from pathlib import Path
from typing import Any

from deo.errors import OutputError, SceneError
from deo.files.disk import refuse_folder, write_file
from deo.maps.metadata import MapInfo
from deo.maps.runner import FeatureModel
from deo.maps.sinks import check_suffix
from deo.scene.earth import Area, Ground, geojson
from deo.scene.scene import Scene

STAC_VERSION = "1.1.0"
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".zarr": "application/vnd+zarr",
}
_UNKNOWN_TIME = {
    "datetime": None,
    "start_datetime": "2015-06-23T00:00:00Z",  # Sentinel-2A was launched
    "end_datetime": "9999-12-31T23:59:59Z",  # items need an end; the clock would say when they ran
}

_DIGITS = 7  # of degrees: a centimetre


def check_items(scene: Scene) -> Area:
    """Where a scene lies, which items have to say; asked before anything is computed.

    Raises:
        OutputError: nothing says where on Earth that is.
    """
    ground = Ground(name=scene.name, crs=scene.crs, transform=scene.transform)
    try:
        return ground.area(height=scene.height, width=scene.width)
    except SceneError as error:
        raise OutputError(f"{error}, so STAC cannot say where it is; leave --stac out") from error


def write_items(
    output: Path, info: MapInfo, scene: Scene, model: FeatureModel
) -> tuple[Path, Path]:
    """Write `NAME.stac.json` and `NAME.mlm.json` beside an output `NAME.tif`.

    Returns:
        Both paths.

    Raises:
        OutputError: the scene lies nowhere on Earth, a folder has an item's name, or the disk
            refuses.
    """
    item_path, model_path = item_paths(output)
    for path in (item_path, model_path):
        refuse_folder(path)
    item = embedding_item(output, info, scene, model_href=f"./{model_path.name}")
    for path, content in (
        (model_path, model_item(info, scene, model)),
        (item_path, item),
    ):
        write_file(path, json.dumps(content, indent=2) + "\n")
    return item_path, model_path


def item_paths(output: Path) -> tuple[Path, Path]:
    """Where `write_items` writes the item and the model's description."""
    return output.with_suffix(".stac.json"), output.with_suffix(".mlm.json")


def embedding_item(output: Path, info: MapInfo, scene: Scene, *, model_href: str) -> dict[str, Any]:
    """The item of one output."""
    suffix = check_suffix(output)
    height, width = -(-scene.height // info.stride), -(-scene.width // info.stride)
    properties: dict[str, Any] = {
        **_when(info),
        "emb:type": "chip" if suffix == ".parquet" else "pixel",
        "emb:dimensions": len(info.names),
        "data_type": info.dtype,
        "proj:code": _code(scene),
        "proj:shape": [height, width],
        "proj:transform": [*info.transform][:6],
        "deo:metadata": dict(info.tags),
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [_PROJECTION],
        "id": output.stem,
        **_where(scene),
        "properties": properties,
        "links": [
            {"rel": "emb:model", "href": model_href, "type": "application/geo+json"},
            {"rel": "emb:source-data", "href": info.source},
        ],
        "assets": {
            "embeddings": {
                "href": f"./{output.name}",
                "type": _MEDIA_TYPES[suffix],
                "roles": ["data", "embeddings"],
                "data_type": info.dtype,
            }
        },
    }


def model_item(info: MapInfo, scene: Scene, model: FeatureModel) -> dict[str, Any]:
    """The MLM description of the model as this run used it."""
    contract = json.loads(info.tags["DEO_CONTRACT"])
    name, weights = info.tags["DEO_MODEL"], info.tags["DEO_WEIGHTS"]
    properties = {
        **_when(info),
        "mlm:name": name,
        "mlm:architecture": "Swin Transformer" if "swin" in name else "Vision Transformer",
        "mlm:tasks": ["feature-extraction", "embedding"],
        "mlm:framework": "pytorch",
        "mlm:accelerator": model.device.type if model.device.type != "cpu" else "amd64",
        "mlm:pretrained": weights != "untrained",
        "mlm:input": [_model_input(info, contract)],
        "mlm:output": [_model_output(info, channels=len(info.names))],
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [_MLM],
        "id": f"{name}-{info.tags['DEO_WEIGHTS_SHA256'][:12]}",
        **_where(scene),
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": _weights_href(weights),
                "type": "application/octet-stream; application=pytorch",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "torch.save",
                "title": f"{name}, weights {weights}",
                "file:checksum": f"1220{info.tags['DEO_WEIGHTS_SHA256']}",
            }
        },
    }


def _model_input(info: MapInfo, contract: dict[str, Any]) -> dict[str, Any]:
    side = int(info.tags["DEO_TILE"].split(" x ")[0])
    scaling = [
        {"type": "z-score", "mean": mean, "stddev": std}
        for mean, std in zip(contract["mean"], contract["std"], strict=True)
    ]
    described: dict[str, Any] = {
        "name": f"{len(contract['bands'])} Sentinel-2 bands, digital numbers without offset",
        "bands": contract["bands"],
        "input": {
            "shape": [-1, len(contract["bands"]), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": scaling,
        "resize_type": None,
    }
    if contract["name"] in ("pretrain", "scene"):
        described["pre_processing_function"] = {
            "format": "python",
            "expression": "deo.contracts:Contract.apply",
        }
    return described


def _model_output(info: MapInfo, *, channels: int) -> dict[str, Any]:
    return {
        "name": f"features of layer {info.layer}, one cell per {info.stride} pixels",
        "tasks": ["feature-extraction", "embedding"],
        "result": {
            "shape": [-1, channels, -1, -1],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
    }


def _weights_href(weights: str) -> str:
    """Where weights lie, as a URL when they are public."""
    kind, _, place = weights.partition(":")
    if kind == "hub" and "@" in place:
        repo, _, rest = place.partition("@")
        revision, _, file = rest.partition("/")
        return f"https://huggingface.co/{repo}/resolve/{revision}/{file}"
    return place or f"urn:deo:{kind}"


def _where(scene: Scene) -> dict[str, Any]:
    area = check_items(scene)
    return {
        "geometry": geojson(area, digits=_DIGITS),
        "bbox": [round(side, _DIGITS) for side in area.box],
    }


def _code(scene: Scene) -> str | None:
    code = scene.crs.to_authority()
    return ":".join(code) if code else None


def _when(info: MapInfo) -> dict[str, Any]:
    """The sensing time when the name tells it, else that it is not known."""
    if info.datetime is not None:
        return {"datetime": info.datetime.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return dict(_UNKNOWN_TIME)
