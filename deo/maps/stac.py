"""STAC beside an output: an item with the embedding fields, and an MLM description of the model."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deo.describe.classes import CLASSIFICATION, classes_of
from deo.describe.embeddings import EMBEDDINGS
from deo.describe.models import Result, Weights, model_item
from deo.describe.stac import PROJECTION, Extent, item, projection
from deo.errors import OutputError, SceneError
from deo.files.publish import refuse_folder, write_file
from deo.maps.class_map import NODATA, colours
from deo.maps.job import Output
from deo.maps.metadata import MapInfo, weights_address
from deo.maps.runner import FeatureModel
from deo.maps.sinks import ClassMapSink, check_suffix
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


def write_items(output: Output, scene: Scene, model: FeatureModel) -> tuple[Path, Path]:
    """Write `NAME.stac.json` and `NAME.mlm.json` beside an output `NAME.tif`.

    Returns:
        Both paths.

    Raises:
        OutputError: nothing says where on Earth the scene lies, a folder has an item's name, or
            the disk refuses.
    """
    item_path, model_path = item_paths(output.path)
    for path in (item_path, model_path):
        refuse_folder(path)
    extent = _extent(output.info, scene)
    describe = _describe_map if output.info.task is None else _describe_classes
    described = {
        model_path: _describe_model(output.info, model, extent),
        item_path: describe(output, scene, extent, f"./{quote(model_path.name)}"),
    }
    for path, content in described.items():
        write_file(path, json.dumps(content, indent=2) + "\n")
    return item_path, model_path


def item_paths(output: Path) -> tuple[Path, Path]:
    """Where `write_items` writes the item and the model's description."""
    return output.with_suffix(".stac.json"), output.with_suffix(".mlm.json")


def _describe_map(output: Output, scene: Scene, extent: Extent, model: str) -> dict[str, Any]:
    """A file of features."""
    path, info = output.path, output.info
    suffix = check_suffix(path)
    chip = int(info.tags["DEO_CHIP"]) if suffix == ".parquet" else None
    return item(
        path.stem,
        extent,
        extensions=[PROJECTION, EMBEDDINGS],
        properties={
            **info.embeddings(chip=chip).item_properties(),
            "deo:metadata": dict(info.tags),
        },
        links=[
            {"rel": "emb:model", "href": model, "type": "application/geo+json"},
            {"rel": "emb:source-data", "href": quote(info.source)},
        ],
        assets={
            "embeddings": {
                "href": f"./{quote(path.name)}",
                "type": _MEDIA_TYPES[suffix],
                "roles": ["data", "embeddings"],
                "data_type": info.dtype,
                **(_grid(info, scene) if chip is None else {"proj:code": "EPSG:4326"}),
            }
        },
    )


def _describe_classes(output: Output, scene: Scene, extent: Extent, model: str) -> dict[str, Any]:
    """A map of classes, or of the probability of each."""
    path, info = output.path, output.info
    asset = {
        "href": f"./{quote(path.name)}",
        "type": _MEDIA_TYPES[check_suffix(path)],
        **_grid(info, scene),
    }
    if isinstance(output.sink, ClassMapSink):
        classes = classes_of(info.names, colours(len(info.names)), nodata=NODATA)
        asset |= {"roles": ["data", "classification"], "classification:classes": classes}
    else:
        bands = [{"name": name, "data_type": info.dtype} for name in info.names]
        asset |= {"roles": ["data", "probability"], "bands": bands}
    return item(
        path.stem,
        extent,
        extensions=[PROJECTION, CLASSIFICATION],
        properties={"deo:metadata": dict(info.tags)},
        links=[
            {"rel": "derived_from", "href": model, "type": "application/geo+json"},
            {"rel": "via", "href": quote(info.source)},
        ],
        assets={"map": asset},
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
        result=_result(info),
        weights=Weights(
            href=weights_address(weights) or weights.partition(":")[2] or f"urn:deo:{weights}",
            title=f"{name}, weights {weights}",
            safetensors=weights == "embedded" or weights.endswith(".safetensors"),
            sha256=sha256,
        ),
        pretrained=weights != "untrained",
        device=model.device.type,
    )


def _result(info: MapInfo) -> Result:
    """What the model gives for one tile."""
    if info.task is None:
        return Result(
            name=f"features of layer {info.layer}, one cell per {info.stride} pixels",
            shape=(len(info.names), -1, -1),
            axes=("channel", "height", "width"),
        )
    return Result(
        name=f"probabilities of classes, one cell per {info.stride} pixels",
        shape=(len(info.names), -1, -1),
        axes=("class", "height", "width"),
        tasks=(info.task,),
        classes=info.names,
    )


def _extent(info: MapInfo, scene: Scene) -> Extent:
    area = check_items(scene)
    return Extent(
        geometry=geojson(area, digits=_DIGITS),
        bbox=[round(side, _DIGITS) for side in area.box],
        sensed=info.datetime,
    )
