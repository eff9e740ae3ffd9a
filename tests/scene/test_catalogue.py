"""Real scenes through the doors of STAC and xarray: a catalogue that is written here."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

import deo
from deo import MODEL_BANDS
from deo.scene.window import Window as Part

pystac = pytest.importorskip("pystac")
MICRO: dict[str, Any] = {
    "model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32, "contract": "fixed",
}  # fmt: skip
SIDE = 160


def crop(source: Path, target: Path) -> None:
    """The upper left corner of a scene, on whole coordinates as odc.stac wants them."""
    with rasterio.open(source) as file:
        profile = {**file.profile, "height": SIDE, "width": SIDE}
        profile["transform"] = rasterio.Affine(10, 0, 600_000, 0, -10, 5_330_000)
        values, names = file.read(window=Window(0, 0, SIDE, SIDE)), file.descriptions
    with rasterio.open(target, "w", **profile) as file:
        file.write(values)
        file.descriptions = names


@pytest.fixture
def catalogue(shared: Path, tmp_path: Path) -> Any:
    """Two dates of one place as items of one file a band, written to disk; and the two files."""
    items = []
    for number, name in ((1, "rennes_1_20150821"), (2, "rennes_2_20170621")):
        whole = tmp_path / f"{name}.tif"
        crop(shared / "data" / "sentinel2" / f"{name}.tif", whole)
        folder = tmp_path / "catalogue" / name
        folder.mkdir(parents=True)
        date = dt.datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=dt.UTC)
        item = pystac.Item(
            name, {"type": "Point", "coordinates": [-1.6, 48.1]}, [-1.6, 48.1, -1.6, 48.1],
            date, {"platform": "sentinel-2a", "proj:epsg": 32630},
            stac_extensions=[
                "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
                "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            ],
        )  # fmt: skip
        with rasterio.open(whole) as file:
            for index, band in enumerate(file.descriptions, 1):
                profile = {**file.profile, "count": 1}
                with rasterio.open(folder / f"{band}.tif", "w", **profile) as one:
                    one.write(file.read(index), 1)
                item.add_asset(
                    band,
                    pystac.Asset(
                        str(folder / f"{band}.tif"),
                        media_type=pystac.MediaType.COG,
                        roles=["data"],
                        extra_fields={
                            "eo:bands": [{"name": band}],
                            "proj:shape": [SIDE, SIDE],
                            "proj:transform": list(file.transform)[:6],
                        },
                    ),
                )
        item.set_self_href(str(folder / "item.json"))
        item.make_asset_hrefs_relative()
        item.save_object(include_self_link=False)
        items.append((whole, item, number))
    return items


def test_item__gives_the_features_of_its_scene(catalogue: Any) -> None:
    for whole, item, _ in catalogue:
        expected = deo.extract(whole, **MICRO)
        made = deo.extract(item, **MICRO)
        assert np.array_equal(made.array, expected.array, equal_nan=True)
        assert made.tags["DEO_SOURCE"] == item.id


def test_items__are_a_list_of_scenes(catalogue: Any, tmp_path: Path) -> None:
    collection = pystac.ItemCollection([item for _, item, _ in catalogue], clone_items=False)
    results = list(deo.extract_many(collection.items, tmp_path / "out", **MICRO))
    assert [result.state for result in results] == ["done", "done"], results
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [
        "rennes_1_20150821", "rennes_2_20170621",
    ]  # fmt: skip


# odc.geo calls what shapely advises against
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")
def test_odc_stac__loads_what_features_takes(catalogue: Any) -> None:
    odc = pytest.importorskip("odc.stac")
    items = [item for _, item, _ in catalogue]
    data = odc.load(items, bands=list(MODEL_BANDS), chunks={"x": 70, "y": 100})
    made = deo.features(data, **MICRO).compute(scheduler="sync")
    assert made.sizes["time"] == 2
    for index, (whole, _, _) in enumerate(catalogue):
        expected = deo.extract(whole, **MICRO).array
        assert np.nanmax(np.abs(made.values[index] - expected)) < 1e-5


def test_rioxarray__opens_what_features_takes(catalogue: Any) -> None:
    rioxarray = pytest.importorskip("rioxarray")
    whole = catalogue[0][0]
    expected = deo.extract(whole, **MICRO).array
    for settings in ({}, {"masked": True}, {"chunks": {"x": 100, "y": 60}}):
        with rioxarray.open_rasterio(whole, **settings) as data:
            made = deo.features(data, **MICRO).compute(scheduler="sync")
        assert np.nanmax(np.abs(made.values - expected)) < 1e-5


@pytest.mark.slow
def test_item__of_a_safe_product_reads_as_the_product(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = next((shared / "data" / "safe").glob("*.SAFE"))
    images = sorted(safe.glob("GRANULE/*/IMG_DATA/R*/*.jp2"))
    monkeypatch.setenv("DEO_VRT_SOURCES", str(safe))
    item = pystac.Item(
        safe.stem, None, None, dt.datetime(2023, 8, 23, tzinfo=dt.UTC),
        {"s2:processing_baseline": "05.09"},
    )  # fmt: skip
    for image in images:
        key = "_".join(image.stem.split("_")[2:])
        item.add_asset(key, pystac.Asset(str(image), media_type=pystac.MediaType.JPEG2000))
    with deo.open_scene(item, resolution=60) as scene, deo.open_scene(safe, resolution=60) as file:
        bands = deo.BandSet(band for band in file.bands if band in scene.bands)
        assert len(bands) > 3
        assert set(scene.radiometry.offset) == {-1000.0}
        window = Part(row=0, col=0, height=64, width=64)
        one, other = scene.read(window, bands), file.read(window, bands)
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.valid, other.valid)
        assert any("SCL" in text for text in scene.ignored)
