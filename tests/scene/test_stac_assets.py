"""The bands of STAC items, up to a scene."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo import MODEL_BANDS, RGB_BANDS
from deo.errors import BandError, RadiometryError, SceneError

Make = Callable[..., Any]


def change(folder: Path, item: Any) -> Path:
    """Write an item that was changed."""
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"


def test_open__reads_as_the_file_of_all_bands(
    stac_item: Make, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    item = stac_item(tmp_path / "a")
    with (
        deo.open_scene(tmp_path / "a" / "item.json") as scene,
        deo.open_scene(scene_file(60, 70, hole=(slice(0, 10), slice(0, 20)))) as file,
    ):
        assert scene.bands == MODEL_BANDS
        assert scene.name == item["id"]
        assert scene.names_source == "the STAC item"
        expected, read = file.read(file.whole), scene.read(scene.whole)
    assert np.array_equal(read.values, expected.values)
    assert np.array_equal(read.valid, expected.valid)


def test_open__an_item_in_memory(stac_item: Make, tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    stac_item(tmp_path)
    with deo.open_scene(pystac.Item.from_file(str(tmp_path / "item.json"))) as scene:
        assert scene.bands == MODEL_BANDS


@pytest.mark.parametrize(
    ("properties", "asset", "offset"),
    [
        ({"s2:processing_baseline": "04.00"}, {}, -1000.0),  # Planetary Computer
        ({"s2:processing_baseline": "02.12"}, {}, 0.0),
        (
            {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True},
            {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]},
            0.0,
        ),  # Earth Search
        (
            {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False},
            {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]},
            -1000.0,
        ),
        ({}, {"bands": [{"name": "x", "raster:scale": 0.0001, "raster:offset": -0.1}]}, -1000.0),
        ({}, {"raster:scale": 0.0001, "raster:offset": -0.1}, -1000.0),  # STAC 1.1
    ],
)
def test_radiometry__is_told_by_the_item(
    stac_item: Make, tmp_path: Path, properties: Any, asset: Any, offset: float
) -> None:
    stac_item(tmp_path, properties=properties, **asset)
    with deo.open_scene(tmp_path / "item.json") as scene:
        assert set(scene.radiometry.offset) == {offset}
        assert set(scene.radiometry.scale) == {1.0}
        assert not scene.radiometry.assumed


def test_radiometry__that_contradicts_itself_is_refused(stac_item: Make, tmp_path: Path) -> None:
    facts = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    stac_item(tmp_path, properties={"s2:processing_baseline": "02.12"}, **facts)
    with pytest.raises(RadiometryError, match="contradictory offsets"):
        deo.open_scene(tmp_path / "item.json")


def test_bands__are_told_by_keys_where_nothing_else_does(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    for asset in item["assets"].values():
        del asset["eo:bands"]
    item["assets"] = {
        f"{band}_10m": asset
        for band, asset in zip(MODEL_BANDS, item["assets"].values(), strict=True)
    }
    with deo.open_scene(change(tmp_path, item)) as scene:
        assert scene.bands == MODEL_BANDS


def test_bands__of_one_file_are_told_by_its_list(
    stac_item: Make, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    item = stac_item(tmp_path)
    path = scene_file(60, 70, name="all.tif")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("",) * 10
    listed = [{"name": band} for band in MODEL_BANDS]
    item["assets"] = {"data": {"href": "all.tif", "type": "image/tiff", "bands": listed}}
    with deo.open_scene(change(tmp_path, item)) as scene:
        assert scene.bands == MODEL_BANDS
    with deo.open_scene(tmp_path / "item.json", bands=RGB_BANDS) as scene:
        assert scene.bands == RGB_BANDS


def test_choice__takes_the_finest_and_leaves_pictures_and_masks(
    stac_item: Make, tmp_path: Path
) -> None:
    item = stac_item(tmp_path)
    red, green = item["assets"]["red"], item["assets"]["green"]
    coarse = {**red, "href": "nowhere.tif", "proj:transform": [60, 0, 0, 0, -60, 0]}
    jp2 = {**green, "href": "s3://nowhere/B03.jp2", "type": "image/jp2"}
    picture = {**red, "href": "nowhere.tif", "roles": ["visual"]}
    classes = {"href": "SCL.tif", "type": "image/tiff", "roles": ["data"]}
    item["assets"] = {
        "red-60m": coarse, "green-jp2": jp2, "visual": picture, "scl": classes, **item["assets"],
    }  # fmt: skip
    with deo.open_scene(change(tmp_path, item)) as scene:
        assert set(scene.bands) == set(MODEL_BANDS)
        assert scene.ignored[:4] == (
            "asset red-60m", "asset green-jp2", "asset visual", "asset scl",
        )  # fmt: skip


def test_item__without_usable_bands_is_refused(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    features = {"href": "./a0.tif", "type": "image/tiff", "roles": ["data"]}
    path = change(tmp_path, {**item, "assets": {"features": features, "scl": features}})
    with pytest.raises(BandError, match=r"has no asset that is a band .* features, scl\. A band"):
        deo.open_scene(path)
    path = change(tmp_path, {**item, "properties": {"platform": "landsat-8"}})
    with pytest.raises(BandError, match=r"another sensor, told by tag platform \(landsat-8\)"):
        deo.open_scene(path)
    change(tmp_path, item)
    with pytest.raises(BandError, match="missing band B10"):
        deo.open_scene(tmp_path / "item.json", bands="B04,B10")


def test_asset__that_cannot_be_read_is_named(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    (tmp_path / "a1.tif").write_bytes(b"<html>no</html>")
    with pytest.raises(SceneError, match=rf"{item['id']}, asset green: .*a1\.tif cannot be opened"):
        deo.open_scene(tmp_path / "item.json")


def test_asset__is_read_as_a_plain_raster_only(stac_item: Make, tmp_path: Path) -> None:
    stac_item(tmp_path)
    (tmp_path / "a0.tif").write_text(
        "<VRTDataset rasterXSize='70' rasterYSize='60'><VRTRasterBand dataType='UInt16' band='1'>"
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError, match=r"asset red: .*GeoTIFF or JPEG 2000 is wanted"):
        deo.open_scene(tmp_path / "item.json")


def test_asset__outside_the_item_s_folder_is_refused(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path / "a")
    item["assets"]["red"]["href"] = "../a/a0.tif"
    with pytest.raises(SceneError, match=r"names \.\./a/a0\.tif, which does not lie below"):
        deo.open_scene(change(tmp_path / "a", item))


def test_names__of_file_and_item_have_to_agree(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    (tmp_path / "a0.tif").rename(tmp_path / "B05.tif")
    item["assets"]["red"]["href"] = "B05.tif"
    with pytest.raises(BandError, match="asset red is B04, and the file says B05"):
        deo.open_scene(change(tmp_path, item))


def test_classification__is_a_mask_of_clouds(stac_item: Make, tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    classes = np.full((30, 35), 4, np.uint8)
    classes[20:, 20:] = 9
    with rasterio.open(tmp_path / "a0.tif") as file:
        profile = {**file.profile, "height": 30, "width": 35, "dtype": "uint8", "nodata": None}
        profile["transform"] = file.transform * file.transform.scale(2)
    with rasterio.open(tmp_path / "x.tif", "w", **profile) as file:
        file.write(classes, 1)
    item["assets"]["scl"] = {"href": "x.tif", "type": "image/tiff", "roles": ["data"]}
    with deo.open_scene(change(tmp_path, item), mask="clouds") as scene:
        valid = scene.read(scene.whole).valid
        assert "asset scl" in scene.ignored
    assert not valid[40:, 40:].any()
    assert valid[10:40].all()
    item["assets"]["scl"]["href"] = "/elsewhere/x.tif"
    with deo.open_scene(change(tmp_path, item)) as scene:
        assert scene.bands == MODEL_BANDS
