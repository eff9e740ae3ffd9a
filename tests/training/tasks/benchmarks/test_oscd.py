"""OSCD on miniature trees: as its authors pack it, and as one file per date."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import PRODUCT_BANDS
from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.scores import IGNORE

ARCHIVE = "Onera Satellite Change Detection dataset - {}"
IMAGES = ARCHIVE.format("Images")


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    """The authors' three folders; the second city's mask is a PNG, one image a pixel larger."""
    for city, split in (("rennes", "Train"), ("dubai", "Test")):
        for date in (1, 2):
            size = 9 if (city, date) == ("dubai", 2) else 8
            for place, band in enumerate(PRODUCT_BANDS, start=1):
                path = tmp_path / IMAGES / city / f"imgs_{date}_rect" / f"{band}.tif"
                write.tif(path, write.plane(100 * place + date, size))
        masks = tmp_path / ARCHIVE.format(f"{split} Labels") / city / "cm"
        mask = np.zeros((8, 8), np.uint8)
        mask[:, 4:] = 1
        if split == "Train":
            write.tif(masks / f"{city}-cm.tif", mask + 1)
        else:
            write.png(masks / "cm.png", mask * 255)
    (tmp_path / IMAGES / "train.txt").write_text("rennes\n")
    (tmp_path / IMAGES / "test.txt").write_text("dubai")
    return tmp_path


@pytest.fixture
def dated(tmp_path: Path, write: Any) -> Path:
    """One file per date, as the cities of a trial copy are packed."""
    root = tmp_path / "dated"
    for city in ("bercy", "paris", "unmasked"):
        for date in (1, 2):
            image = write.stack(PRODUCT_BANDS) + np.uint16(date)
            image[:, 0] = 0
            write.tif(root / f"{city}_{date}_2016010{date}.tif", image, PRODUCT_BANDS.names)
    for city in ("bercy", "paris"):
        mask = np.zeros((8, 8), np.uint8)
        mask[0], mask[:, 5:] = 255, 1
        write.tif(root / f"{city}_cm.tif", mask)
    return root


def test_read__every_sample(tree: Path, dated: Path, read_all: Callable[..., None]) -> None:
    read_all("oscd", tree)
    read_all("oscd", dated)


def test_problems__a_split_file_is_missing(
    tree: Path, refuses_without: Callable[..., None]
) -> None:
    refuses_without("oscd", tree, f"{IMAGES}/test.txt", r"split file test\.txt is missing")


def test_problems__one_band_of_one_date(tree: Path, refuses_without: Callable[..., None]) -> None:
    lost = f"{IMAGES}/rennes/imgs_2_rect/B8A.tif"
    refuses_without("oscd", tree, lost, r"rennes: bands B8A missing in .*imgs_2_rect")


def test_open__authors_layout_and_both_kinds_of_masks(tree: Path) -> None:
    for split in benchmark("oscd").open(tree).values():
        sample = split[0]
        assert sample.image.shape == (2, 13, 8, 8)
        assert (sample.image[1] - sample.image[0] == 1).all()
        assert sample.target[0].tolist() == [0] * 4 + [1] * 4


def test_open__one_file_per_date(dated: Path) -> None:
    split = benchmark("oscd").open(dated)["all"]
    assert split.names == ("bercy", "paris")
    sample = split[0]
    assert not sample.valid[0].any()
    assert (sample.target[0] == IGNORE).all()
    assert sample.target[1].tolist() == [0] * 5 + [1] * 3


def test_read__labels_out_of_range_and_mismatched_sizes(dated: Path, write: Any) -> None:
    write.tif(dated / "paris_cm.tif", write.plane(9).astype(np.uint8))
    with pytest.raises(DataError, match=r"paris_cm\.tif: label 9 out of range"):
        benchmark("oscd").open(dated)["all"][1]
    image = write.stack(PRODUCT_BANDS, 40)
    write.tif(dated / "paris_2_20160102.tif", image, PRODUCT_BANDS.names)
    with pytest.raises(DataError, match=r"paris: mismatched pair, sizes differ.*date2 40 x 40"):
        benchmark("oscd").open(dated)["all"][1]


def test_read__real_cities(shared: Path) -> None:
    cities = benchmark("oscd").open(shared / "data/sentinel2")["all"]
    assert len(cities) == 7
    assert (cities[5].target == 1).sum() == 507
