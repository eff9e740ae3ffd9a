"""EuroSAT-MS on a miniature tree in its authors' layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import PRODUCT_BANDS
from deo.errors import BandError, DataError
from deo.training.data.reading import read_image
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.benchmarks.eurosat import EUROSAT_BANDS, EUROSAT_CLASSES


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    for name in EUROSAT_CLASSES:
        for number in (1, 2, 10):
            write.tif(tmp_path / name / f"{name}_{number}.tif", write.stack(EUROSAT_BANDS))
    return tmp_path


def test_read__every_sample(tree: Path, read_all: Callable[..., None]) -> None:
    read_all("eurosat-ms", tree)


def test_problems__a_class_is_missing(tree: Path, refuses_without: Callable[..., None]) -> None:
    refuses_without("eurosat-ms", tree, "River", r"1 of 10 class folders missing .*: River")


def test_open__b8a_is_last_and_classes_are_folders(tree: Path) -> None:
    split = benchmark("eurosat-ms").open(tree)["all"]
    assert split.bands.names[-1] == "B8A"
    assert split.names[:3] == tuple(f"AnnualCrop/AnnualCrop_{n}" for n in (1, 2, 10))
    assert split.targets().tolist() == np.repeat(np.arange(10), 3).tolist()


def test_splits__all_three_files_or_none(tree: Path) -> None:
    (tree / "eurosat-train.txt").write_text("River_1.jpg\nForest_2.jpg\n")
    (tree / "eurosat-val.txt").write_text("River_2.jpg\n")
    with pytest.raises(DataError, match=r"split file eurosat-test\.txt is missing"):
        benchmark("eurosat-ms").open(tree)
    (tree / "eurosat-test.txt").write_text("SeaLake_10.jpg\n")
    splits = benchmark("eurosat-ms").open(tree)
    assert splits["train"].names == ("River/River_1", "Forest/Forest_2")
    assert splits["test"].targets().tolist() == [9]


def test_bands__wrong_orders_are_told(tree: Path, write: Any) -> None:
    with pytest.raises(BandError, match="wrong band order declared: eurosat-ms stores B01,"):
        benchmark("eurosat-ms", stored=PRODUCT_BANDS)
    assert benchmark("eurosat-ms", stored=EUROSAT_BANDS).layout.bands == EUROSAT_BANDS
    for name in EUROSAT_CLASSES:  # a copy in product order, unnamed: B10 gives it away
        values = np.full((13, 8, 8), 2000, np.uint16)
        values[PRODUCT_BANDS.names.index("B10")] = 12
        write.tif(tree / name / f"{name}_1.tif", values)
    with pytest.raises(DataError, match=r"wrong band order: B10 .* position 10 .* position 11"):
        benchmark("eurosat-ms").open(tree)
    named = tree / "named.tif"
    write.tif(named, write.stack(PRODUCT_BANDS), PRODUCT_BANDS.names)
    with pytest.raises(BandError, match=r"the file names its bands B01,.*declared as"):
        read_image(named, bands=EUROSAT_BANDS)


def test_read__a_damaged_tile_is_named(tree: Path) -> None:
    (tree / "River/River_1.tif").write_bytes(b"no tiff")
    with pytest.raises(DataError, match=r"River_1\.tif cannot be read"):
        benchmark("eurosat-ms").open(tree)["all"][24]


def test_read__real_tiles(shared: Path) -> None:
    samples = list(benchmark("eurosat-ms").open(shared / "data/eurosat_ms")["all"])
    assert np.bincount([int(sample.target) for sample in samples]).tolist() == [10] * 10
    assert np.mean([sample.image[9].mean() for sample in samples]) < 20  # cirrus
