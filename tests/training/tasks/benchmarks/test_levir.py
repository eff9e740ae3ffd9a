"""LEVIR-CD on a miniature tree in its authors' layout."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    root = tmp_path / "levir"
    label = np.zeros((8, 8), np.uint8)
    label[:, 4:] = 255
    for folder in ("train", "val", "test"):
        for kind, level in (("A", 10), ("B", 90)):
            image = np.stack([write.plane(level + band) for band in range(3)])
            write.png(root / folder / kind / f"{folder}_1.png", image)
        write.png(root / folder / "label" / f"{folder}_1.png", label)
    return root


def test_read__every_sample(tree: Path, read_all: Callable[..., None]) -> None:
    read_all("levir-cd", tree)


def test_problems__a_split_is_missing(tree: Path, refuses_without: Callable[..., None]) -> None:
    refuses_without("levir-cd", tree, "val", "no val/A below")


def test_open__both_packings(tree: Path, tmp_path: Path) -> None:
    sample = benchmark("levir-cd").open(tree)["valid"][0]
    assert sample.image[0, :, 0, 0].tolist() == [10, 11, 12]
    assert sample.image[1, :, 0, 0].tolist() == [90, 91, 92]
    assert sample.target[0].tolist() == [0] * 4 + [1] * 4
    flat = tmp_path / "flat"
    for folder in ("train", "val", "test"):
        shutil.copytree(tree / folder, flat, dirs_exist_ok=True)
        (flat / "list").mkdir(exist_ok=True)
        (flat / "list" / f"{folder}.txt").write_text(f"{folder}_1.png\n")
    assert benchmark("levir-cd").open(flat)["test"].names == ("test_1.png",)
    (flat / "list/val.txt").unlink()
    with pytest.raises(DataError, match=r"split file list/val\.txt is missing"):
        benchmark("levir-cd").open(flat)


def test_read__mismatched_sizes(tree: Path, write: Any) -> None:
    write.png(tree / "train/label/train_1.png", write.plane(0, 9))
    with pytest.raises(DataError, match="mismatched pair"):
        benchmark("levir-cd").open(tree)["train"][0]


def test_read__a_grey_label_is_refused(tree: Path, write: Any) -> None:
    write.png(tree / "train/label/train_1.png", write.plane(128))
    with pytest.raises(DataError, match=r"train_1\.png label: label 128 out of range; wanted only"):
        benchmark("levir-cd").open(tree)["train"][0]
