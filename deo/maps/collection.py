"""A STAC collection of the items beside the outputs of many scenes."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deo.describe.embeddings import EMBEDDINGS, Embeddings
from deo.describe.stac import collection, in_collection
from deo.errors import DataError, OutputError
from deo.files.documents import load_json
from deo.files.publish import write_file
from deo.maps.stac import item_paths
from deo.scene.earth import Box, join

NAME = "collection.json"
_LAYER = "deo:layer"


def write_collections(outputs: Iterable[Path]) -> list[Path]:
    """Write `collection.json` above outputs with items: one of each layer, where there are several.

    The items are written again with a link to it.

    Returns:
        The collections.

    Raises:
        OutputError: a file of that name is no collection of ours, or the disk refuses.
    """
    layers: dict[str, dict[Path, dict[str, Any]]] = defaultdict(dict)
    for path in (item_paths(output)[0] for output in outputs):
        described = load_json(path)
        layers[described["properties"]["deo:metadata"]["DEO_LAYER"]][path] = described
    written = []
    for layer, items in sorted(layers.items()):
        name = NAME if len(layers) == 1 else f"collection_layer{layer}.json"
        target = folder_of(items) / name
        refuse_other(target)
        described = _describe(items, layer, target.parent)
        write_file(target, json.dumps(described, indent=2) + "\n")
        for path, each in items.items():
            href = _relative(target, path.parent)
            linked = in_collection(each, described["id"], href)
            write_file(path, json.dumps(linked, indent=2) + "\n")
        written.append(target)
    return written


def folder_of(paths: Iterable[Path]) -> Path:
    """The deepest folder that holds them all."""
    return Path(os.path.commonpath([path.parent.absolute() for path in paths]))


def refuse_other(target: Path) -> None:
    """Refuse to replace what is no collection of ours.

    Raises:
        OutputError: there is such a file.
    """
    try:
        ours = not target.exists() or _LAYER in load_json(target)
    except (OSError, DataError, TypeError):
        ours = False
    if not ours:
        raise OutputError(f"{target} is in the way: deo did not write it; move it")


def _describe(items: Mapping[Path, dict[str, Any]], layer: str, folder: Path) -> dict[str, Any]:
    described = list(items.values())
    properties = described[0]["properties"]
    tags = properties["deo:metadata"]
    features = "deo:type" in properties
    what = f"Features of layer {layer} of {tags['DEO_MODEL']}" if features else "Maps of classes"
    return collection(
        f"{tags['DEO_MODEL']}-layer{layer}",
        f"{what}: {len(items)} items.",
        extensions=[EMBEDDINGS] if features else [],
        bbox=list(join([Box(*each["bbox"]) for each in described])),
        times=[each["properties"]["datetime"] for each in described],
        fields={**(_fields(properties) if features else {}), _LAYER: layer},
        links=[
            *(_provenance(items, folder) if features else []),
            *(
                {"rel": "item", "href": _relative(path, folder), "type": "application/geo+json"}
                for path in items
            ),
        ],
    )


def _fields(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What all embeddings have in common."""
    tags = properties["deo:metadata"]
    embeddings = Embeddings(
        dimensions=properties["deo:dimensions"],
        dtype=properties["data_type"],
        model=tags["DEO_MODEL"],
        sources=(),
        chip=int(tags["DEO_CHIP"]) if "DEO_CHIP" in tags else None,
    )
    return embeddings.collection_fields()


def _provenance(items: Mapping[Path, dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Links to the model and to every source."""
    path, first = next(iter(items.items()))
    # contracts differ from scene to scene, and so do the descriptions of the model
    model = path.parent / unquote(_link(first, "emb:model")["href"])
    return [
        {"rel": "emb:model", "href": _relative(model, folder), "type": "application/geo+json"},
        *(_link(each, "emb:source-data") for each in items.values()),
    ]


def _link(described: Mapping[str, Any], rel: str) -> dict[str, Any]:
    links: Sequence[dict[str, Any]] = described["links"]
    return next(link for link in links if link["rel"] == rel)


def _relative(path: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(path, folder)).as_posix())
