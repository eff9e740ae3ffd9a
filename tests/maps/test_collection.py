import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest

import deo
from deo.errors import OutputError
from deo.maps.collection import refuse_other, write_collections

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "layer": 0}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_extract_many__items_of_many_scenes_are_a_collection(
    scene_file: Callable[..., Path], tmp_path: Path, valid: Callable[..., None]
) -> None:
    scenes = [scene_file(name=f"scene_2020010{day}.tif", height=40) for day in (2, 5)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    entries = [
        (scenes[0], tmp_path / "a" / "one.tif"),
        (scenes[1], tmp_path / "b" / "two.tif"),
        (tmp_path / "missing.tif", tmp_path / "b" / "three.tif"),
    ]
    ended = list(deo.extract_many(entries, None, stac=True, **MICRO))
    assert [result.state for result in ended] == ["done", "done", "failed"]
    collection = load(tmp_path / "collection.json")
    valid(collection, "stac/collection.json")
    valid(collection, "embeddings-stac.json")
    assert collection["emb:dimensions"] == 16
    assert collection["extent"]["temporal"]["interval"] == [
        ["2020-01-02T12:00:00Z", "2020-01-05T12:00:00Z"]
    ]
    read = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert [each.id for each in read.get_items()] == ["one", "two"]
    for each in (tmp_path / "a" / "one.stac.json", tmp_path / "b" / "two.stac.json"):
        valid(load(each), "stac/item.json")
        assert pystac.Item.from_file(str(each)).get_collection().id == read.id
    (model,) = (link for link in collection["links"] if link["rel"] == "emb:model")
    assert (tmp_path / model["href"]).is_file()
    before = (tmp_path / "collection.json").read_bytes()
    list(deo.extract_many(entries[:2], None, stac=True, **MICRO))
    assert (tmp_path / "collection.json").read_bytes() == before


def test_write_collections__one_for_each_layer(
    scene_file: Callable[..., Path], tmp_path: Path, valid: Callable[..., None]
) -> None:
    settings = MICRO | {"layer": None, "stac": True}
    written = deo.extract(scene_file(height=40), tmp_path / "out.zarr", **settings)
    collections = write_collections(written)
    assert [path.name for path in collections] == [f"collection_layer{n}.json" for n in range(4)]
    dimensions = [load(path)["emb:dimensions"] for path in collections]
    assert dimensions == [16, 32, 64, 128]
    for path in collections:
        valid(load(path), "embeddings-stac.json")


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"type": "Collection"}'])
def test_refuse_other__what_deo_did_not_write(tmp_path: Path, content: str) -> None:
    target = tmp_path / "collection.json"
    refuse_other(target)
    target.write_text(content)
    with pytest.raises(OutputError, match="deo did not write it"):
        refuse_other(target)
