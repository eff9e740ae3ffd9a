"""STAC items read from wherever they stand, and what their hrefs may name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deo.errors import SceneError
from deo.scene.stac_item import (
    is_stac_object,
    is_stac_path,
    item_addresses,
    read_items,
    single_item,
)

Make = Callable[..., Any]


def collection(*items: Any) -> Any:
    return {"type": "FeatureCollection", "features": list(items)}


def test_items__of_files_and_objects_are_alike(stac_item: Make, tmp_path: Path) -> None:
    plain = stac_item(tmp_path)
    path = tmp_path / "item.json"
    (of_file,) = read_items(path)
    assert of_file.name == plain["id"]
    assert of_file.place == str(path)
    assert list(of_file.assets)[:3] == ["red", "green", "blue"]
    (of_dict,) = read_items(plain)
    assert of_dict == of_file._replace(place=None)
    pystac = pytest.importorskip("pystac")
    loaded = pystac.Item.from_file(str(path))
    (of_object,) = read_items(loaded)
    assert (of_object.name, of_object.place) == (of_file.name, str(path))
    assert of_object.assets["red"]["href"] == "./a0.tif"
    assert single_item(of_file) is of_file


def test_items__of_geoparquet(stac_item: Make, tmp_path: Path) -> None:
    geoparquet = pytest.importorskip("stac_geoparquet.arrow")
    plain = stac_item(tmp_path)
    other = {**plain, "id": "other"}
    geoparquet.parse_stac_items_to_parquet([plain, other], output_path=tmp_path / "items.parquet")
    addresses = item_addresses(str(tmp_path / "items.parquet"))
    assert [address.rpartition("#")[2] for address in addresses] == [plain["id"], "other"]
    (read,) = read_items(addresses[1])
    assert read.assets["red"]["eo:bands"] == plain["assets"]["red"]["eo:bands"]
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SceneError, match=r"no\.parquet cannot be read as STAC GeoParquet"):
        read_items(tmp_path / "no.parquet")


def test_items__of_an_address(stac_item: Make, tmp_path: Path, server: Any) -> None:
    stac_item(tmp_path)
    (read,) = read_items(f"http://{server.address}/item.json")
    assert read.locate("./a0.tif") == f"http://{server.address}/a0.tif"
    with pytest.raises(SceneError, match="does not lie below"):
        read.locate("/etc/passwd")


def test_collection__is_a_list_of_items(stac_item: Make, tmp_path: Path) -> None:
    plain = stac_item(tmp_path)
    path = tmp_path / "items.json"
    path.write_text(json.dumps(collection(plain, {**plain, "id": "b"})))
    assert item_addresses(str(path)) == [f"{path}#{plain['id']}", f"{path}#b"]
    assert item_addresses(str(tmp_path / "item.json")) == [str(tmp_path / "item.json")]
    assert item_addresses("x.tif") == ["x.tif"]
    with pytest.raises(SceneError, match=r"holds 2 items .* name one as FILE#ID"):
        single_item(path)
    assert single_item(f"{path}#b").name == "b"
    with pytest.raises(SceneError, match="holds no item c"):
        single_item(f"{path}#c")


def test_collection__of_several_sensors_is_refused(stac_item: Make, tmp_path: Path) -> None:
    plain = stac_item(tmp_path)
    landsat = {**plain, "id": "L", "properties": {"platform": "landsat-8"}}
    with pytest.raises(SceneError, match=r"mixes sensors: L is told by tag platform \(landsat-8\)"):
        read_items(collection(plain, landsat))
    assert len(read_items(collection(landsat, landsat))) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "it holds list"),
        ('{"type": "Feature", "stac_version": "1.0.0"}', "type is Feature, and it has no assets"),
        ('{"type": "FeatureCollection", "features": []}', "holds no STAC item"),
        ('{"type": "Catalog"}', "type is Catalog"),
    ],
)
def test_anything_else__is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(SceneError, match=said):
        single_item(tmp_path / "x.json")
    with pytest.raises(SceneError, match=r"y\.json cannot be read as a STAC item"):
        single_item(tmp_path / "y.json")


def test_is_stac__tells_paths_and_objects() -> None:
    assert is_stac_path("x.JSON")
    assert is_stac_path("https://x/items.parquet?sig=1#a")
    assert not is_stac_path("x.tif")
    assert not is_stac_path(7)
    assert is_stac_object({"type": "Feature"})
    assert not is_stac_object("x.json")
