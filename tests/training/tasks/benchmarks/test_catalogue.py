"""Every benchmark on a miniature tree in its authors' exact layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.reading import read_image
from deo.training.tasks.benchmarks.catalogue import BENCHMARKS, benchmark
from deo.training.tasks.benchmarks.eurosat import EUROSAT_BANDS, EUROSAT_CLASSES
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Task

PRODUCT = [band.name for band in SENTINEL2]
UTM = {"crs": "EPSG:32630", "transform": from_origin(5e5, 4e6, 10, 10)}


def write_tif(path: Path, array: np.ndarray, names: list[str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.atleast_3d(array) if array.ndim == 3 else array[None]
    count, height, width = array.shape
    options = {"count": count, "height": height, "width": width, "dtype": array.dtype, **UTM}
    with rasterio.open(path, "w", driver="GTiff", **options) as out:
        out.write(array)
        if names:
            out.descriptions = names


def write_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array if array.ndim == 3 else array[None]
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        out = rasterio.open(
            path,
            "w",
            driver="PNG",
            count=len(array),
            height=array.shape[1],
            width=array.shape[2],
            dtype="uint8",
        )
    with out:
        out.write(array.astype(np.uint8))


def plane(level: int, size: int = 8) -> np.ndarray:
    return np.full((size, size), level, np.uint16)


def stack(names: list[str], size: int = 8) -> np.ndarray:
    """Each band holds a hundred times its place among the thirteen, so that order shows."""
    return np.stack([plane(100 * (PRODUCT.index(name) + 1), size) for name in names])


def eurosat(root: Path) -> None:
    for name in EUROSAT_CLASSES:
        for number in (1, 2, 10):
            write_tif(root / name / f"{name}_{number}.tif", stack(list(EUROSAT_BANDS)))


def sen1floods11(root: Path) -> None:
    label = np.array([[-1, 0], [1, 1]]).repeat(4, 0).repeat(4, 1).astype(np.int16)
    names = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    for split in ("train", "valid", "test"):
        chip = f"Spain_{split}"
        write_tif(root / "S2Hand" / f"{chip}_S2Hand.tif", stack(PRODUCT).astype(np.int16), names)
        write_tif(root / "LabelHand" / f"{chip}_LabelHand.tif", label)
        row = f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n"
        (root / f"flood_{split}_data.csv").write_text(row)


def pastis(root: Path) -> None:
    (root / "DATA_S2").mkdir(parents=True)
    (root / "ANNOTATIONS").mkdir()
    order = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    features = []
    for fold in range(1, 6):
        series = np.stack([stack(order)] * 3).astype(np.int16)
        series[0] = 9000  # a cloud on one date
        np.save(root / "DATA_S2" / f"S2_{fold}.npy", series)
        target = np.zeros((3, 8, 8), np.uint8)
        target[0, :2], target[0, 2:4] = 19, 18
        np.save(root / "ANNOTATIONS" / f"TARGET_{fold}.npy", target)
        features.append({"properties": {"ID_PATCH": fold, "Fold": fold}, "geometry": None})
    (root / "metadata.geojson").write_text(json.dumps({"features": features}))


def spacenet1(root: Path) -> None:
    for number in range(1, 8):
        image = np.stack([plane(level) for level in (30, 20, 10)]).astype(np.uint8)
        write_tif(root / "3band" / f"3band_AOI_1_RIO_img{number}.tif", image)
        ring = [[5e5, 4e6], [5e5 + 40, 4e6], [5e5 + 40, 4e6 - 80], [5e5, 4e6 - 80], [5e5, 4e6]]
        shape = {"type": "Polygon", "coordinates": [ring]}
        collection = {"type": "FeatureCollection", "features": [{"geometry": shape}]}
        path = root / "vectordata" / "geojson" / f"Geo_AOI_1_RIO_img{number}.geojson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(collection if number != 2 else {"features": []}))


def levir(root: Path) -> None:
    label = np.zeros((8, 8), np.uint8)
    label[:, 4:] = 255
    for folder in ("train", "val", "test"):
        for kind, level in (("A", 10), ("B", 90)):
            image = np.stack([plane(level + band) for band in range(3)])
            write_png(root / folder / kind / f"{folder}_1.png", image)
        write_png(root / folder / "label" / f"{folder}_1.png", label)


def oscd(root: Path) -> None:
    """The authors' three folders; the second city's mask is a PNG, one image a pixel larger."""
    images = root / "Onera Satellite Change Detection dataset - Images"
    for city, split in (("rennes", "Train"), ("dubai", "Test")):
        for date in (1, 2):
            for band in PRODUCT:
                size = 9 if (city, date) == ("dubai", 2) else 8
                value = plane(100 * (PRODUCT.index(band) + 1) + date, size)
                write_tif(images / city / f"imgs_{date}_rect" / f"{band}.tif", value)
        masks = root / f"Onera Satellite Change Detection dataset - {split} Labels" / city / "cm"
        mask = np.zeros((8, 8), np.uint8)
        mask[:, 4:] = 1
        if split == "Train":
            write_tif(masks / f"{city}-cm.tif", mask + 1)
        else:
            write_png(masks / "cm.png", mask * 255)
    (images / "train.txt").write_text("rennes\n")
    (images / "test.txt").write_text("dubai")


def oscd_dates(root: Path) -> None:
    """One file per date, as the cities of a trial copy are packed."""
    for city in ("bercy", "paris", "unmasked"):
        for date in (1, 2):
            image = stack(PRODUCT) + np.uint16(date)
            image[:, 0] = 0
            write_tif(root / f"{city}_{date}_2016010{date}.tif", image, PRODUCT)
    for city in ("bercy", "paris"):
        mask = np.zeros((8, 8), np.uint8)
        mask[0], mask[:, 5:] = 255, 1
        write_tif(root / f"{city}_cm.tif", mask)


TREES: dict[str, Callable[[Path], None]] = {
    "eurosat-ms": eurosat,
    "sen1floods11": sen1floods11,
    "pastis": pastis,
    "spacenet1": spacenet1,
    "levir-cd": levir,
    "oscd": oscd,
}


@pytest.fixture(params=sorted(TREES))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    TREES[request.param](tmp_path)
    return request.param, tmp_path


def test_table__every_name_says_what_the_paper_reports() -> None:
    assert len(BENCHMARKS) == 14
    without = {name for name, row in BENCHMARKS.items() if row.paper is None}
    assert without == {"eurosat-ms"}
    assert all(row.shapes for row in BENCHMARKS.values())
    with pytest.raises(DataError, match="known are eurosat-ms"):
        benchmark("eurosatms")


def test_open__reads_every_sample_in_the_bands_asked_for(tree: tuple[str, Path]) -> None:
    name, root = tree
    bench = benchmark(name)
    bands = BandSet([band for band in MODEL_BANDS if band in bench.layout.bands])
    splits = bench.open(root, bands=bands)
    assert set(splits) in ({"all"}, {"train", "test"}, {"train", "valid", "test"})
    for split in splits.values():
        for sample in split:
            dates = (2,) if bench.task is Task.CHANGE else ()
            assert sample.image.shape == (*dates, len(bands), 8, 8)
            assert sample.image.dtype == np.float32
            if len(bands) == 10 and name != "pastis":
                levels = sample.image[..., 4, 4] // 100
                wanted = [PRODUCT.index(band) + 1 for band in bands]
                assert (levels == wanted).all()


def test_eurosat__b8a_is_last_and_classes_are_folders(tmp_path: Path) -> None:
    eurosat(tmp_path)
    split = benchmark("eurosat-ms").open(tmp_path)["all"]
    assert split.bands.names[-1] == "B8A"
    assert split.names[:3] == tuple(f"AnnualCrop/AnnualCrop_{n}" for n in (1, 2, 10))
    assert split.targets().tolist() == np.repeat(np.arange(10), 3).tolist()


def test_eurosat__split_files_all_three_or_none(tmp_path: Path) -> None:
    eurosat(tmp_path)
    (tmp_path / "eurosat-train.txt").write_text("River_1.jpg\nForest_2.jpg\n")
    (tmp_path / "eurosat-val.txt").write_text("River_2.jpg\n")
    with pytest.raises(DataError, match=r"split file eurosat-test\.txt is missing"):
        benchmark("eurosat-ms").open(tmp_path)
    (tmp_path / "eurosat-test.txt").write_text("SeaLake_10.jpg\n")
    splits = benchmark("eurosat-ms").open(tmp_path)
    assert splits["train"].names == ("River/River_1", "Forest/Forest_2")
    assert splits["test"].targets().tolist() == [9]


def test_eurosat__wrong_band_orders_are_told(tmp_path: Path) -> None:
    eurosat(tmp_path)
    with pytest.raises(BandError, match="wrong band order declared: eurosat-ms stores B01,"):
        benchmark("eurosat-ms", stored=BandSet(PRODUCT))
    assert benchmark("eurosat-ms", stored=EUROSAT_BANDS).layout.bands == EUROSAT_BANDS
    for name in EUROSAT_CLASSES:  # a copy in product order, unnamed: B10 gives it away
        values = np.full((13, 8, 8), 2000, np.uint16)
        values[PRODUCT.index("B10")] = 12
        write_tif(tmp_path / name / f"{name}_1.tif", values)
    with pytest.raises(DataError, match=r"wrong band order: B10 .* position 10 .* position 11"):
        benchmark("eurosat-ms").open(tmp_path)
    named = tmp_path / "named.tif"
    write_tif(named, stack(PRODUCT), PRODUCT)
    with pytest.raises(BandError, match=r"the file names its bands B01,.*declared as"):
        read_image(named, bands=EUROSAT_BANDS)


def test_sen1floods11__splits_masks_and_single_chips(tmp_path: Path) -> None:
    sen1floods11(tmp_path)
    splits = benchmark("sen1floods11").open(tmp_path)
    assert splits["valid"].names == ("Spain_valid",)
    sample = splits["test"][0]
    assert np.unique(sample.target).tolist() == [-1, 0, 1]
    for path in tmp_path.glob("*.csv"):
        path.unlink()
    assert len(benchmark("sen1floods11").open(tmp_path)["all"]) == 3


def test_pastis__median_over_time_void_ignored_folds(tmp_path: Path) -> None:
    pastis(tmp_path)
    splits = benchmark("pastis").open(tmp_path, bands=BandSet(["B8A", "B02"]))
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 3,
        "valid": 1,
        "test": 1,
    }
    sample = splits["test"][0]
    assert sample.image[:, 0, 0].tolist() == [900, 200]
    assert (sample.target[:2] == IGNORE).all()
    assert (sample.target[2:4] == 18).all()


def test_spacenet__footprints_and_shares(tmp_path: Path) -> None:
    spacenet1(tmp_path)
    splits = benchmark("spacenet1").open(tmp_path)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [5, 1, 1]
    assert splits["train"][0].target[:, :4].all()
    assert not splits["train"][0].target[:, 4:].any()
    assert not splits["train"][1].target.any()  # no building


def test_levir__both_packings(tmp_path: Path) -> None:
    levir(tmp_path / "a")
    sample = benchmark("levir-cd").open(tmp_path / "a")["valid"][0]
    assert sample.image[0, :, 0, 0].tolist() == [10, 11, 12]
    assert sample.image[1, :, 0, 0].tolist() == [90, 91, 92]
    assert sample.target[0].tolist() == [0] * 4 + [1] * 4
    flat = tmp_path / "b"
    for folder in ("train", "val", "test"):
        shutil.copytree(tmp_path / "a" / folder, flat, dirs_exist_ok=True)
        (flat / "list").mkdir(exist_ok=True)
        (flat / "list" / f"{folder}.txt").write_text(f"{folder}_1.png\n")
    assert benchmark("levir-cd").open(flat)["test"].names == ("test_1.png",)


def test_oscd__authors_layout_and_both_kinds_of_masks(tmp_path: Path) -> None:
    oscd(tmp_path)
    splits = benchmark("oscd").open(tmp_path)
    for split in splits.values():
        sample = split[0]
        assert sample.image.shape == (2, 13, 8, 8)
        assert (sample.image[1] - sample.image[0] == 1).all()
        assert sample.target[0].tolist() == [0] * 4 + [1] * 4


def test_oscd__one_file_per_date(tmp_path: Path) -> None:
    oscd_dates(tmp_path)
    split = benchmark("oscd").open(tmp_path)["all"]
    assert split.names == ("bercy", "paris")
    sample = split[0]
    assert not sample.valid[0].any()
    assert (sample.target[0] == IGNORE).all()
    assert sample.target[1].tolist() == [0] * 5 + [1] * 3


MISSING = {
    "eurosat-ms": ("River", r"1 of 10 class folders missing .*: River"),
    "sen1floods11": ("flood_valid_data.csv", r"split file flood_valid_data\.csv is missing"),
    "pastis": ("metadata.geojson", r"split file metadata\.geojson is missing"),
    "spacenet1": ("vectordata/geojson/Geo_AOI_1_RIO_img3.geojson", "lack footprints: img3"),
    "levir-cd": ("val", "no val/A below"),
    "oscd": (
        "Onera Satellite Change Detection dataset - Images/test.txt",
        r"split file test\.txt is missing",
    ),
}


def test_check__says_what_is_missing(tree: tuple[str, Path]) -> None:
    name, root = tree
    lost, message = MISSING[name]
    path = root / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(DataError, match=f"{name} is not complete: .*{message}"):
        benchmark(name).open(root)


def test_check__no_folder_at_all(tmp_path: Path) -> None:
    for row in BENCHMARKS.values():
        with pytest.raises(DataError, match="there is no folder"):
            row.open(tmp_path / "nowhere")
        with pytest.raises(DataError, match="is not complete"):
            row.open(tmp_path)


def test_check__one_band_of_one_date(tmp_path: Path) -> None:
    oscd(tmp_path)
    next(tmp_path.rglob("rennes/imgs_2_rect/B8A.tif")).unlink()
    with pytest.raises(DataError, match=r"rennes: bands B8A missing in .*imgs_2_rect"):
        benchmark("oscd").open(tmp_path)


def test_labels__out_of_range_name_the_sample(tmp_path: Path) -> None:
    sen1floods11(tmp_path / "floods")
    write_tif(tmp_path / "floods/LabelHand/Spain_test_LabelHand.tif", plane(7).astype(np.int16))
    with pytest.raises(DataError, match=r"Spain_test: label 7 out of range; wanted 0\.\.1 or -1"):
        benchmark("sen1floods11").open(tmp_path / "floods")["test"][0]
    oscd_dates(tmp_path / "cities")
    write_tif(tmp_path / "cities/paris_cm.tif", plane(9).astype(np.uint8))
    with pytest.raises(DataError, match=r"paris_cm\.tif: label 9 out of range"):
        benchmark("oscd").open(tmp_path / "cities")["all"][1]


def test_pairs__mismatched_sizes(tmp_path: Path) -> None:
    oscd_dates(tmp_path)
    write_tif(tmp_path / "paris_2_20160102.tif", stack(PRODUCT, 40), PRODUCT)
    with pytest.raises(DataError, match=r"paris: mismatched pair, sizes differ.*date2 40 x 40"):
        benchmark("oscd").open(tmp_path)["all"][1]
    levir(tmp_path / "levir")
    write_png(tmp_path / "levir/train/label/train_1.png", plane(0, 9))
    with pytest.raises(DataError, match="mismatched pair"):
        benchmark("levir-cd").open(tmp_path / "levir")["train"][0]


def test_images__unreadable(tmp_path: Path) -> None:
    eurosat(tmp_path)
    (tmp_path / "River/River_1.tif").write_bytes(b"no tiff")
    with pytest.raises(DataError, match=r"River_1\.tif cannot be read"):
        benchmark("eurosat-ms").open(tmp_path)["all"][24]


def test_real__eurosat_floods_and_cities(shared: Path) -> None:
    tiles = benchmark("eurosat-ms").open(shared / "data/eurosat_ms")["all"]
    samples = list(tiles)
    assert np.bincount([int(sample.target) for sample in samples]).tolist() == [10] * 10
    assert np.mean([sample.image[9].mean() for sample in samples]) < 20  # cirrus
    flood = benchmark("sen1floods11").open(shared / "data/sentinel2")["all"]
    assert (flood[0].target == 1).sum() == 70035
    cities = benchmark("oscd").open(shared / "data/sentinel2")["all"]
    assert len(cities) == 7
    assert (cities[5].target == 1).sum() == 507
