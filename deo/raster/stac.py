"""STAC beside an output: an item with the embedding fields, and an MLM description of the model.

The items are plain JSON, so that writing them needs no further package.
"""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.warp import transform as reproject

from deo.errors import OutputError
from deo.raster.disk import beside, disk_errors, publish, refuse_folder
from deo.raster.metadata import MapInfo
from deo.raster.model import FeatureModel
from deo.raster.scene import Scene
from deo.raster.sinks import check_suffix

STAC_VERSION = "1.1.0"
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".zarr": "application/vnd+zarr",
}
_MISSION_START = "2015-06-23T00:00:00Z"


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
    item_path, model_path = (output.with_suffix(f".{kind}.json") for kind in ("stac", "mlm"))
    for path in (item_path, model_path):
        refuse_folder(path)
    item = embedding_item(output, info, scene, model_href=f"./{model_path.name}")
    for path, content in (
        (model_path, model_item(info, scene, model)),
        (item_path, item),
    ):
        new = beside(path, "new")
        with disk_errors(path):
            new.write_text(json.dumps(content, indent=2) + "\n")
            publish(new, path)
    return item_path, model_path


def embedding_item(output: Path, info: MapInfo, scene: Scene, *, model_href: str) -> dict[str, Any]:
    """The item of one output."""
    suffix = check_suffix(output)
    ring = _footprint(scene)
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
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": _bbox(ring),
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
    ring = _footprint(scene)
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
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": _bbox(ring),
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
            "expression": "deo.preprocess:Contract.apply",
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


def _footprint(scene: Scene) -> list[list[float]]:
    """The scene's outline in degrees, closed."""
    if scene.crs is None:
        raise OutputError(
            f"{scene.name} has no coordinate reference system, so STAC cannot say where it is; "
            "leave --stac out"
        )
    cols = np.array([0, 0, scene.width, scene.width, 0], np.float64)
    rows = np.array([0, scene.height, scene.height, 0, 0], np.float64)
    t = scene.transform
    x, y = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    longitude, latitude = reproject(scene.crs, "EPSG:4326", x, y)
    return [[round(a, 7), round(b, 7)] for a, b in zip(longitude, latitude, strict=True)]


def _bbox(ring: list[list[float]]) -> list[float]:
    corners = np.array(ring)
    return [float(side) for side in (*corners.min(axis=0), *corners.max(axis=0))]


def _code(scene: Scene) -> str | None:
    code = scene.crs.to_authority()
    return ":".join(code) if code else None


def _when(info: MapInfo) -> dict[str, Any]:
    """The sensing time when the name tells it, else the mission's span so far."""
    if info.datetime is not None:
        return {"datetime": info.datetime.strftime("%Y-%m-%dT%H:%M:%SZ")}
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT00:00:00Z")
    return {"datetime": None, "start_datetime": _MISSION_START, "end_datetime": now}
