"""What training samples hold, counted and named."""

from typing import cast

import numpy as np
import pytest

from deo.training.tasks.dataset import Layout
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.survey import class_counts, listed, warn_of_unseen
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


def test_listed__a_few_names_and_how_many_more() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
