"""What training samples hold, counted and named."""

from typing import cast

import numpy as np
import pytest

from deo.training.tasks.dataset import Layout
from deo.training.tasks.patches import Example, Examples
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.survey import (
    class_counts,
    least_valid,
    listed,
    say_parts,
    warn_of_few,
    warn_of_unseen,
)
from deo.training.tasks.task import Benchmark, Task


def bench(task: Task) -> Benchmark:
    names = ("dry", "wet", "ice")
    return Benchmark(
        name="toy", task=task, classes=names, layout=cast(Layout, None), metric="accuracy"
    )


def test_class_counts__numbers_and_multi_hot() -> None:
    mask = np.array([[0, 1, 1], [IGNORE, 1, 0]])
    assert class_counts(mask, bench(Task.SEGMENT)).tolist() == [2, 3, 0]
    hot = np.array([[1, 0, 1], [1, 0, 0]])
    assert class_counts(hot, bench(Task.MULTILABEL)).tolist() == [2, 0, 1]


def test_warn_of_unseen__names_the_classes(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_unseen(np.array([1, 1, 1]), bench(Task.CLASSIFY))
    assert not caplog.records
    warn_of_unseen(np.array([0, 4, 0]), bench(Task.CLASSIFY))
    assert "no training sample shows dry, ice" in caplog.text


def part(*labels: int) -> Examples:
    return cast(
        Examples, [Example(np.zeros((1, 2, 2), np.float32), np.array(one)) for one in labels]
    )


def test_say_parts__samples_and_labels_of_each_class(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "deo.training.tasks")
    say_parts({"train": part(0, 1, 1), "test": part(2)}, bench(Task.CLASSIFY))
    assert caplog.messages[:-1] == [
        "train: 3 samples; labelled tiles: dry 1, wet 2, ice 0",
        "test: 1 samples; labelled tiles: dry 0, wet 0, ice 1",
    ]


def test_warn_of_few__where_a_part_is_too_small_to_choose_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiles = bench(Task.CLASSIFY)
    assert (least_valid(tiles), least_valid(bench(Task.CHANGE))) == (30, 5)
    warn_of_few({"train": part(0), "valid": part(*[0] * 30)}, tiles)
    assert not caplog.records
    warn_of_few({"train": part(0), "valid": part(*[0] * 29)}, tiles)
    assert "holds 29 sample(s), too few to choose an epoch by (wanted 30" in caplog.text
    caplog.set_level("INFO", "deo.training.tasks")
    warn_of_few({"train": part(0)}, tiles)
    assert "no validation part: the last pass counts" in caplog.text


def test_listed__a_few_names_and_how_many_more() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
