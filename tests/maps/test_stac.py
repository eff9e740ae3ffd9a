import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

import deo
from deo.errors import OutputError
from deo.maps.job import Output
from deo.maps.sinks import CogSink
from deo.maps.stac import item_paths, write_items

Make = Callable[..., Any]
MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "layer": 0}


@pytest.mark.parametrize("kind", ["stac", "mlm"])
def test_write_items__leaves_a_folder_alone(info: Make, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / f"map.{kind}.json"
    folder.mkdir()
    nothing: Any = None  # refused before it is looked at
    output = Output(path=tmp_path / "map.tif", position=0, info=info(), sink=CogSink())
    with pytest.raises(OutputError, match="it is a folder"):
        write_items(output, nothing, nothing)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_write_items__validate_for_every_kind_of_output(
    scene_file: Callable[..., Path],
    tmp_path: Path,
    valid: Callable[..., None],
    suffix: str,
    dtype: str,
) -> None:
    output = tmp_path / f"out{suffix}"
    deo.extract(scene_file(40, 70), output, dtype=dtype, chip=32, stac=True, **MICRO)
    item, model = (load(path) for path in item_paths(output))
    valid(item, "stac/item.json")
    valid(item, "embeddings-stac.json")
    valid(item, "projection.json")
    valid(model, "stac/item.json")
    valid(model, "mlm.json")
    assert ("emb:quantization" in item["properties"]) is (dtype == "int8")
    asset = item["assets"]["embeddings"]
    assert pystac.Item.from_dict(item).assets["embeddings"].href == f"./out{suffix}"
    if suffix == ".parquet":
        assert (asset["proj:code"], item["properties"]["deo:type"]) == ("EPSG:4326", "chip")
    else:
        assert (asset["proj:code"], asset["proj:shape"]) == ("EPSG:32633", [10, 18])
        assert asset["proj:transform"] == [40, 0, 500_000, 0, -40, 5_000_000]
    if suffix == ".zarr":
        for name in ("geoemb", "proj", "spatial"):
            valid(load(output / "zarr.json"), f"zarr-{name}.json")


def test_write_items__a_reference_system_without_a_code(
    scene_file: Callable[..., Path], tmp_path: Path, valid: Callable[..., None]
) -> None:
    scene = scene_file(40, 70)
    with rasterio.open(scene, "r+") as file:
        file.crs = CRS.from_string("+proj=laea +lat_0=45 +lon_0=15 +datum=WGS84")
        file.transform = Affine(10, 0, 0, 0, -10, 0)
    deo.extract(scene, tmp_path / "out.zarr", stac=True, **MICRO)
    item = load(tmp_path / "out.stac.json")
    valid(item, "stac/item.json")
    valid(item, "projection.json")
    asset = item["assets"]["embeddings"]
    assert asset["proj:code"] is None
    assert "Lambert" in asset["proj:wkt2"]
    attributes = load(tmp_path / "out.zarr" / "zarr.json")
    valid(attributes, "zarr-proj.json")
    assert "proj:code" not in attributes["attributes"]
