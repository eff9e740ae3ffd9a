"""Sen1Floods11 on a miniature tree in its authors' layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import PRODUCT_BANDS
from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    label = np.array([[-1, 0], [1, 1]]).repeat(4, 0).repeat(4, 1).astype(np.int16)
    image = write.stack(PRODUCT_BANDS).astype(np.int16)
    names = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    for split in ("train", "valid", "test"):
        chip = f"Spain_{split}"
        write.tif(tmp_path / "S2Hand" / f"{chip}_S2Hand.tif", image, names)
        write.tif(tmp_path / "LabelHand" / f"{chip}_LabelHand.tif", label)
        row = f"{chip}_S1Hand.tif,{chip}_LabelHand.tif\n"
        (tmp_path / f"flood_{split}_data.csv").write_text(row)
    return tmp_path


def test_read__every_sample(tree: Path, read_all: Callable[..., None]) -> None:
    read_all("sen1floods11", tree)


def test_problems__a_split_file_is_missing(
    tree: Path, refuses_without: Callable[..., None]
) -> None:
    message = r"split file flood_valid_data\.csv is missing"
    refuses_without("sen1floods11", tree, "flood_valid_data.csv", message)


def test_open__splits_masks_and_single_chips(tree: Path) -> None:
    splits = benchmark("sen1floods11").open(tree)
    assert splits["valid"].names == ("Spain_valid",)
    sample = splits["test"][0]
    assert np.unique(sample.target).tolist() == [-1, 0, 1]
    for path in tree.glob("*.csv"):
        path.unlink()
    assert len(benchmark("sen1floods11").open(tree)["all"]) == 3


def test_labels__out_of_range_name_the_sample(tree: Path, write: Any) -> None:
    write.tif(tree / "LabelHand/Spain_test_LabelHand.tif", write.plane(7).astype(np.int16))
    with pytest.raises(DataError, match=r"Spain_test: label 7 out of range; wanted 0\.\.1 or -1"):
        benchmark("sen1floods11").open(tree)["test"][0]


def test_read__a_real_chip(shared: Path) -> None:
    flood = benchmark("sen1floods11").open(shared / "data/sentinel2")["all"]
    assert (flood[0].target == 1).sum() == 70035
