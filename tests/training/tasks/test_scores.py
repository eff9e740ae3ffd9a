"""Scores against their definitions."""

import numpy as np
import pytest

from deo.errors import DataError
from deo.training.tasks import scores

TRUTH = np.array([[0, 1, 1], [2, -1, 0]])
FOUND = np.array([[0, 1, 2], [2, 2, 1]])


def test_confusion__counts_pairs_and_skips_ignored() -> None:
    assert scores.confusion(TRUTH, FOUND, classes=3).tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("label", [3, -2])
def test_confusion__label_out_of_range(label: int) -> None:
    with pytest.raises(DataError, match=rf"label {label} out of range; wanted 0\.\.2"):
        scores.confusion(np.array([label]), np.array([0]), classes=3)


def test_confusion__shapes_differ() -> None:
    with pytest.raises(DataError, match="shape"):
        scores.confusion(TRUTH, FOUND[:1], classes=3)


def test_statistics__by_hand() -> None:
    matrix = np.array([[6.0, 2.0], [1.0, 3.0]])
    assert scores.accuracy(matrix) == pytest.approx(9 / 12)
    assert scores.positive_iou(matrix) == pytest.approx(3 / 6)
    assert scores.positive_f1(matrix) == pytest.approx(6 / 9)
    assert scores.macro_iou(matrix) == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.micro_iou(matrix) == pytest.approx(9 / 15)


def test_macro_iou__leaves_out_classes_that_do_not_occur() -> None:
    assert scores.macro_iou(np.diag([4.0, 0.0, 2.0])) == 1.0


def test_positive_f1__of_multilabel_counts_is_micro_f1() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 2, (2, 30, 5))
    summed = scores.multilabel_confusion(truth, found).astype(float)
    assert scores.positive_f1(summed) == pytest.approx(f1_score(truth, found, average="micro"))


def test_undefined__is_nan() -> None:
    assert np.isnan(scores.positive_f1(np.array([[5.0, 0.0], [0.0, 0.0]])))


def test_bootstrap__interval_holds_the_value_and_narrows_with_units() -> None:
    rng = np.random.default_rng(1)
    hits = rng.random(400) < 0.7
    units = np.stack([np.diag([1, 0]) if hit else np.array([[0, 1], [0, 0]]) for hit in hits])
    few = scores.bootstrap(units[:40], scores.accuracy)
    many = scores.bootstrap(units, scores.accuracy)
    assert many.value == pytest.approx(hits.mean())
    assert many.low < many.value < many.high
    # the normal approximation of a share
    width = 2 * 1.96 * np.sqrt(many.value * (1 - many.value) / 400)
    assert many.high - many.low == pytest.approx(width, rel=0.15)
    assert few.high - few.low > 2 * (many.high - many.low)


def test_bootstrap_runs__averages_runs_on_the_same_units() -> None:
    runs = [np.stack([np.diag([1, 1])] * 5), np.stack([np.array([[0, 1], [1, 0]])] * 5)]
    assert scores.bootstrap_runs(runs, scores.accuracy) == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match="same units"):
        scores.bootstrap_runs([runs[0], runs[1][:2]], scores.accuracy)


def test_bootstrap__nothing_to_score() -> None:
    with pytest.raises(DataError, match="empty"):
        scores.bootstrap(np.empty((0, 2, 2), np.int64), scores.accuracy)


def test_bootstrap_difference__pairs_the_units() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(60) < 0.6
    first = np.zeros((60, 2, 2), np.int64)
    first[np.arange(60), 0, (~right).astype(int)] = 1
    second = first.copy()
    second[np.flatnonzero(right)[:6]] = [[0, 1], [0, 0]]  # six more tiles wrong, the rest alike
    found = scores.bootstrap_difference([first], [second], scores.accuracy)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < found.value < found.high < 0.2
    alone = scores.bootstrap(first, scores.accuracy)
    assert found.high - found.low < alone.high - alone.low
    assert scores.bootstrap_difference([first], [first, first], scores.accuracy) == (0, 0, 0)
    with pytest.raises(DataError, match="the same units"):
        scores.bootstrap_difference([first], [second[:5]], scores.accuracy)
