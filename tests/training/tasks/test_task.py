"""What a benchmark is, and how it is opened."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deo.bands import RGB_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.training.tasks.dataset import Sample
from deo.training.tasks.task import Benchmark, Task


class OneChip:
    bands = RGB_BANDS

    def __init__(self, *problems: str) -> None:
        self.wrong = problems

    def problems(self, root: Path) -> Iterator[str]:
        yield from self.wrong

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        return {"train": ("a",), "test": ("b",)}

    def read(self, root: Path, name: str) -> Sample:
        raise AssertionError("opening reads no sample")


def bench(*problems: str, classes: int | tuple[str, ...] = 3) -> Benchmark:
    layout = OneChip(*problems)
    return Benchmark(
        name="toy", task=Task.CLASSIFY, classes=classes, layout=layout, metric="accuracy"
    )


def test_classes__named_or_counted() -> None:
    assert bench().class_names == ("class 0", "class 1", "class 2")
    named = bench(classes=("dry", "wet"))
    assert (named.class_count, named.class_names) == (2, ("dry", "wet"))


def test_open__every_split_in_the_bands_asked_for(tmp_path: Path) -> None:
    splits = bench().open(tmp_path, bands=BandSet(["B02"]))
    assert {name: part.names for name, part in splits.items()} == {"train": ("a",), "test": ("b",)}
    assert splits["test"].bands == BandSet(["B02"])
    assert splits["test"].classes == 3
    assert bench().open(tmp_path)["train"].bands == RGB_BANDS
    with pytest.raises(BandError, match="missing band B08"):
        bench().open(tmp_path, bands=BandSet(["B08"]))


def test_check__all_problems_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="toy is not complete: no chips; no masks"):
        bench("no chips", "no masks").check(tmp_path)
    with pytest.raises(DataError, match="toy: there is no folder"):
        bench().check(tmp_path / "nowhere")
