"""Rearranged splits: shares of the labels, parts held out, test samples by name."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from deo.bands import RGB_BANDS
from deo.errors import ConfigError, DataError
from deo.training.tasks.dataset import Sample, Split
from deo.training.tasks.splits import divide, first_part, fraction, require_test


class ByName:
    """Chips whose class is the last digit of their name, or masks of one pixel."""

    bands = RGB_BANDS

    def __init__(self, *, masks: bool = False) -> None:
        self.masks = masks

    def problems(self, root: Path) -> Iterator[str]:
        yield from ()

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        return {}

    def read(self, root: Path, name: str) -> Sample:
        label = np.asarray(int(name[-1]), np.int64)
        image = np.zeros((3, 1, 1), np.float32)
        return Sample(image, label[None, None] if self.masks else label, np.ones((1, 1), bool))


def part(*names: str, masks: bool = False) -> Split:
    layout = ByName(masks=masks)
    return Split(root=Path(), layout=layout, names=names, bands=RGB_BANDS, classes=2)


def test_fraction__keeps_classes_in_proportion() -> None:
    train = part("a0", "b0", "c0", "d0", "e1", "f1")
    half = fraction(train, 0.5, seed=0)
    assert np.bincount(half.targets()).tolist() == [2, 1]
    assert fraction(train, 0.5, seed=0).names == half.names
    assert len({fraction(train, 0.5, seed=seed).names for seed in range(5)}) > 1
    assert fraction(train, 1.0, seed=0) is train
    assert np.bincount(fraction(train, 0.01, seed=0).targets()).tolist() == [1, 1]
    with pytest.raises(DataError, match="not in"):
        fraction(train, 0.0, seed=0)


def test_fraction__masks_are_one_group() -> None:
    masks = part("a0", "b0", "c1", "d1", masks=True)
    assert len(fraction(masks, 0.5, seed=0)) == 2
    assert len(fraction(masks, 0.01, seed=0)) == 1


def test_divide__unsplit_data_are_tested_on_the_last_sample() -> None:
    parts = divide({"all": part("a0", "b1", "c0", "d1")}, valid=0.3)
    assert parts["test"].names == ("d1",)
    assert len(parts["train"]) == 2
    assert len(parts["valid"]) == 1


def test_divide__draws_a_validation_part_by_seed() -> None:
    train = part(*(f"{letter}0" for letter in "abcdefghij"))
    drawn = {divide({"train": train}, valid=0.2, seed=seed)["valid"].names for seed in range(5)}
    assert len(drawn) > 1
    assert all(len(names) == 2 for names in drawn)
    assert divide({"train": train, "valid": train}, valid=0.2)["valid"] is train


def test_divide__what_it_refuses() -> None:
    with pytest.raises(ConfigError, match="validation part of 1"):
        divide({"train": part("a0")}, valid=1)
    with pytest.raises(DataError, match="only for data without splits"):
        divide({"train": part("a0")}, test=("a0",))
    with pytest.raises(DataError, match="no sample is left to train on"):
        divide({"all": part("a0")})


def test_parts__what_may_be_measured_and_scored() -> None:
    train, whole = part("a0"), part("b0")
    assert first_part({"train": train, "test": whole}) is train
    assert first_part({"all": whole}) is whole
    require_test({"all": whole})
    with pytest.raises(DataError, match="the parts train, valid and no test part"):
        require_test({"train": train, "valid": whole})


def test_divide__the_validation_part_is_drawn_from_the_share() -> None:
    """Twelve labels are used in all, as an evaluation of the same share uses them."""
    train = part(*(f"{number}{number % 2}" for number in range(48)))
    parts = divide({"train": train, "test": part("x0")}, share=0.25, valid=0.25, seed=3)
    used = fraction(train, 0.25, seed=3)
    assert len(used) == 12
    assert sorted(parts["train"].names + parts["valid"].names) == sorted(used.names)
    assert len(parts["valid"]) == 3
    again = divide({"train": used, "test": part("x0")}, valid=0.25, seed=3)
    assert again["train"].names == parts["train"].names
