"""STAC beside an output: an item with the embedding fields, and an MLM description of the model."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deo.describe.embeddings import EMBEDDINGS
from deo.describe.models import Result, Weights, model_item
from deo.describe.stac import PROJECTION, Extent, item, projection
from deo.errors import OutputError, SceneError
from deo.files.publish import refuse_folder, write_file
from deo.maps.metadata import MapInfo, weights_address
from deo.maps.runner import FeatureModel
from deo.maps.sinks import check_suffix
from deo.scene.earth import Area, Ground, geojson
from deo.scene.scene import Scene

_MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".tiff": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".zarr": "application/vnd+zarr",
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
        OutputError: nothing says where on Earth the scene lies, a folder has an item's name, or
            the disk refuses.
    """
    item_path, model_path = item_paths(output)
    for path in (item_path, model_path):
        refuse_folder(path)
    extent = _extent(info, scene)
    described = {
        model_path: _describe_model(info, model, extent),
        item_path: _describe_map(output, info, scene, extent, model_href=f"./{model_path.name}"),
    }
    for path, content in described.items():
        write_file(path, json.dumps(content, indent=2) + "\n")
    return item_path, model_path


def item_paths(output: Path) -> tuple[Path, Path]:
    """Where `write_items` writes the item and the model's description."""
    return output.with_suffix(".stac.json"), output.with_suffix(".mlm.json")


def _describe_map(
    output: Path, info: MapInfo, scene: Scene, extent: Extent, *, model_href: str
) -> dict[str, Any]:
    suffix = check_suffix(output)
    chip = int(info.tags["DEO_CHIP"]) if suffix == ".parquet" else None
    return item(
        output.stem,
        extent,
        extensions=[PROJECTION, EMBEDDINGS],
        properties={
            **info.embeddings(chip=chip).item_properties(),
            "deo:metadata": dict(info.tags),
        },
        links=[
            {"rel": "emb:model", "href": model_href, "type": "application/geo+json"},
            {"rel": "emb:source-data", "href": quote(info.source)},
        ],
        assets={
            "embeddings": {
                "href": f"./{quote(output.name)}",
                "type": _MEDIA_TYPES[suffix],
                "roles": ["data", "embeddings"],
                "data_type": info.dtype,
                **(_grid(info, scene) if chip is None else {"proj:code": "EPSG:4326"}),
            }
        },
    )


def _grid(info: MapInfo, scene: Scene) -> dict[str, Any]:
    """Where the cells of a raster lie."""
    place = projection(info.crs)
    return {
        **({} if "proj:code" in place else {"proj:code": None}),
        **place,
        "proj:shape": [-(-scene.height // info.stride), -(-scene.width // info.stride)],
        "proj:transform": [*info.transform][:6],
    }


def _describe_model(info: MapInfo, model: FeatureModel, extent: Extent) -> dict[str, Any]:
    """The model as this run used it."""
    name, weights = info.tags["DEO_MODEL"], info.tags["DEO_WEIGHTS"]
    sha256 = info.tags["DEO_WEIGHTS_SHA256"]
    return model_item(
        f"{name}-{sha256[:12]}",
        extent,
        model=name,
        contract=json.loads(info.tags["DEO_CONTRACT"]),
        side=int(info.tags["DEO_TILE"].split(" x ")[0]),
        result=Result(
            name=f"features of layer {info.layer}, one cell per {info.stride} pixels",
            shape=(len(info.names), -1, -1),
            axes=("channel", "height", "width"),
        ),
        weights=Weights(
            href=weights_address(weights) or weights.partition(":")[2] or f"urn:deo:{weights}",
            title=f"{name}, weights {weights}",
            safetensors=weights == "embedded" or weights.endswith(".safetensors"),
            sha256=sha256,
        ),
        pretrained=weights != "untrained",
        device=model.device.type,
    )


def _extent(info: MapInfo, scene: Scene) -> Extent:
    area = check_items(scene)
    return Extent(
        geometry=geojson(area, digits=_DIGITS),
        bbox=[round(side, _DIGITS) for side in area.box],
        sensed=info.datetime,
    )
