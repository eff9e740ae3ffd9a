"""Nearest neighbours against the loop."""

import numpy as np
import pytest

from deo.errors import DataError
from deo.training.tasks import knn as neighbours

NOISE = np.random.default_rng(0).normal(size=(60, 6))
LABELS = np.repeat(np.arange(3), 20)


@pytest.mark.parametrize("k", [3, 5, 8])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_knn__equals_the_loop_without_the_row_itself(metric: str, k: int) -> None:
    found = neighbours.knn(
        NOISE, LABELS, NOISE, k=k, metric=neighbours.METRICS[metric], same=True, chunk=7
    )
    for row, label in enumerate(found):
        if metric == "l2":
            near = ((NOISE - NOISE[row]) ** 2).sum(1)
        else:
            near = -(NOISE @ NOISE[row]) / np.linalg.norm(NOISE, axis=1)
        near[row] = np.inf
        votes = LABELS[np.argsort(near)[:k]]
        counts = np.bincount(votes, minlength=3)
        tied = [vote for vote in votes if counts[vote] == counts.max()]
        assert label == tied[0]  # the nearest of the tied


def test_knn__a_tie_goes_to_the_nearest_of_the_tied() -> None:
    bank, labels = np.arange(1.0, 6.0)[:, None], np.array([0, 1, 1, 2, 0])
    assert neighbours.knn(bank, labels, np.zeros((1, 1)), k=5)[0] == 0
    assert neighbours.knn(bank, labels[::-1], np.zeros((1, 1)), k=5)[0] == 0
    assert neighbours.knn(bank, 2 - labels, np.zeros((1, 1)), k=5)[0] == 2


def test_knn__temperature_lets_the_nearest_win() -> None:
    bank = np.array([[0.0], [1.0], [1.1]])
    votes = np.array([0, 1, 1])
    query = np.array([[0.1]])
    assert neighbours.knn(bank, votes, query, k=3)[0] == 1
    assert neighbours.knn(bank, votes, query, k=3, temperature=0.1)[0] == 0


def test_knn__multilabel_takes_half_the_votes() -> None:
    bank = np.zeros((4, 2))
    labels = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert neighbours.knn(bank, labels, np.zeros((1, 2)), k=4).tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("k", [0, 60])
def test_knn__k_must_fit(k: int) -> None:
    with pytest.raises(DataError, match=r"choose k in 1\.\.59"):
        neighbours.knn(NOISE, LABELS, NOISE, k=k, same=True)
