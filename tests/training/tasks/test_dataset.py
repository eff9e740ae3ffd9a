"""Splits of samples, and the checks that all layouts share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deo.bands import RGB_BANDS, BandSet
from deo.errors import DataError
from deo.training.data.reading import LabelMask
from deo.training.tasks.dataset import (
    Sample,
    Split,
    Unit,
    absent,
    read_split_file,
    relabel,
    same_shape,
)
from deo.training.tasks.scores import IGNORE


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Band i holds i; the sample's name is its label, repeated over the left half of a mask."""

    bands: BandSet = RGB_BANDS
    hot: bool = False

    def problems(self, root: Path) -> Iterator[str]:
        yield from ()

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        return {"all": ("0", "1", "7")}

    def read(self, root: Path, name: str) -> Sample:
        image = np.arange(3, dtype=np.float32)[:, None, None].repeat(2, 1).repeat(4, 2)
        valid = np.ones((2, 4), bool)
        valid[:, 0] = False
        mask = np.full((2, 4), int(name))
        return Sample(image, np.array([1, 0, int(name)]) if self.hot else mask, valid)


def split(layout: Planes, *, bands: BandSet = RGB_BANDS, classes: int = 2) -> Split:
    names = layout.splits(Path())["all"]
    return Split(root=Path(), layout=layout, names=names, bands=bands, classes=classes)


def test_split__bands_asked_for_and_no_label_without_data() -> None:
    sample = split(Planes(), bands=BandSet(["B02", "B04"]))[1]
    assert sample.image[:, 0, 0].tolist() == [2, 0]
    assert sample.target[0].tolist() == [IGNORE, 1, 1, 1]


def test_split__subset_keeps_everything_else() -> None:
    whole = split(Planes(), classes=8)
    part = whole.subset([2, 0])
    assert part.names == ("7", "0")
    assert (part.layout, part.bands, part.classes) == (whole.layout, whole.bands, 8)
    assert part.targets().shape == (2, 2, 4)


def test_split__labels_are_checked_by_kind() -> None:
    with pytest.raises(DataError, match=r"7: label 7 out of range; wanted 0\.\.1"):
        split(Planes())[2]
    assert split(Planes(hot=True), classes=3)[1].target.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"7: label 7 out of range; wanted 0\.\.1"):
        split(Planes(hot=True), classes=3)[2]
    with pytest.raises(DataError, match="multi-hot label has 3 entries, wanted 5"):
        split(Planes(hot=True), classes=5)[0]


def test_unit__scales_to_digital_numbers() -> None:
    assert [unit.scale for unit in (Unit.DN, Unit.REFLECTANCE, Unit.BYTE)] == [1, 10_000, 1]


def test_absent__one_sentence_with_the_first_few(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert not list(absent(tmp_path, ["a"], what="files"))
    (sentence,) = absent(tmp_path, list("abcdef"), what="files", most=2)
    assert sentence == f"5 of 6 files missing below {tmp_path}: b, c, ..."


def test_read_split_file__missing_and_damaged(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    with pytest.raises(DataError, match=r"split file .*train\.txt is missing"):
        read_split_file(path, Path.read_text)
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"split file .*train\.txt cannot be read: .*utf-8"):
        read_split_file(path, lambda file: file.read_text(encoding="utf-8"))


def test_same_shape__looks_at_rows_and_columns() -> None:
    same_shape("x", image=np.zeros((3, 4, 5)), mask=np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"x: mismatched pair.*image 4 x 5, mask 5 x 4"):
        same_shape("x", image=np.zeros((3, 4, 5)), mask=np.zeros((5, 4)))


def test_relabel__values_nodata_and_what_is_not_known() -> None:
    stored = np.array([[0, 255, 9, 9]])
    known = np.array([[True, True, True, False]])
    target = relabel(LabelMask(stored, known, 9.0), {0: 0, 255: 1}, where="m")
    assert target.tolist() == [[0, 1, IGNORE, IGNORE]]
    with pytest.raises(DataError, match="m: label 9 out of range; wanted only 0, 255"):
        relabel(LabelMask(stored, known), {0: 0, 255: 1}, where="m")
    # a nodata value that is a class stays one
    nodata_is_class = LabelMask(np.array([[0]]), np.array([[True]]), 0.0)
    assert relabel(nodata_is_class, {0: 0}, where="m").tolist() == [[0]]
