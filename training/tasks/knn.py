"""Nearest neighbours on frozen features given as arrays. Nothing here knows a model or a file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError

FeatureRows = NDArray[np.floating[Any]]
"""(N, D)."""

LabelRows = NDArray[np.integer[Any]]
"""(N,) classes, or (N, K) multi-hot."""

Similarity = Callable[[FeatureRows, FeatureRows], NDArray[np.float32]]


def l2(queries: FeatureRows, bank: FeatureRows) -> NDArray[np.float32]:
    """Negative Euclidean distance, (Q, D) x (B, D) -> (Q, B)."""
    # |q - b|^2 = q^2 - 2 q b + b^2: one matrix product, no (Q, B, D) array; rounding may make the
    # distance of a row to itself a little negative
    squares = (queries**2).sum(1)[:, None] - 2 * queries @ bank.T + (bank**2).sum(1)[None]
    return np.asarray(-np.sqrt(np.maximum(squares, 0)), np.float32)


def cosine(queries: FeatureRows, bank: FeatureRows) -> NDArray[np.float32]:
    """Cosine similarity, (Q, D) x (B, D) -> (Q, B)."""
    return np.asarray(_unit(queries) @ _unit(bank).T, np.float32)


METRICS: dict[str, Similarity] = {"l2": l2, "cosine": cosine}


def _unit(rows: FeatureRows) -> FeatureRows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def knn(
    bank: FeatureRows,
    labels: LabelRows,
    queries: FeatureRows,
    *,
    k: int = 5,
    metric: Similarity = l2,
    temperature: float | None = None,
    same: bool = False,
    chunk: int = 1024,
) -> LabelRows:
    """Label each query by its `k` nearest rows of the bank.

    Args:
        bank: (B, D) features.
        labels: (B,) classes, or (B, K) multi-hot.
        queries: (Q, D) features.
        k: neighbours.
        metric: similarity, larger is nearer: `l2` (k = 5, torchgeo-bench), `cosine`
            (k = 200 and temperature .1, PANGAEA).
        temperature: votes weigh exp(similarity / temperature); None: one vote each.
        same: the queries are the bank; no row may vote for itself (leave one out).

    Returns:
        (Q,) classes (a tie goes to the nearest of the tied), or (Q, K) multi-hot (half the
        votes or more).

    Raises:
        DataError: `k` does not fit the bank.
    """
    available = len(bank) - int(same)
    if not 1 <= k <= available:
        raise DataError(f"k = {k} neighbours asked of {available}; choose k in 1..{available}")
    hot = labels if labels.ndim == 2 else np.eye(int(labels.max()) + 1)[labels]
    parts = []
    for start in range(0, len(queries), chunk):
        similarity = metric(queries[start : start + chunk], bank)
        if same:
            rows = np.arange(len(similarity))
            similarity[rows, rows + start] = -np.inf
        parts.append(_vote(similarity, hot, k=k, temperature=temperature))
    if labels.ndim == 2:
        return np.concatenate([votes >= 0.5 for votes, _ in parts]).astype(np.int64)
    return np.concatenate([_majority(*part) for part in parts])


class _Votes(NamedTuple):
    """(Q, K) shares of the vote, and (Q, k, K) labels of the neighbours, nearest first."""

    shares: NDArray[np.float64]
    neighbours: NDArray[Any]


def _majority(shares: NDArray[np.float64], neighbours: NDArray[Any]) -> LabelRows:
    """(Q,) classes of most votes; of several the one whose member is the nearest."""
    rank = neighbours.argmax(1)  # of the nearest member; meant where there is one
    tied = np.isclose(shares, shares.max(1, keepdims=True), rtol=1e-9, atol=0)
    return np.asarray(np.where(tied, rank, neighbours.shape[1]).argmin(1))


def _vote(
    similarity: NDArray[np.float32], hot: NDArray[Any], *, k: int, temperature: float | None
) -> _Votes:
    """Votes of the `k` nearest by (Q, B) similarities."""
    # a stable order: of equally near neighbours the first of the bank votes, on every machine
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    nearest = np.take_along_axis(similarity, order, axis=1).astype(np.float64)
    if temperature is None:
        weights = np.ones_like(nearest)
    else:
        # relative to the nearest, so that no exponential overflows; the shares stay the same
        weights = np.exp((nearest - nearest[:, :1]) / temperature)
    weights /= weights.sum(1, keepdims=True)
    return _Votes(np.einsum("qk,qkc->qc", weights, hot[order]), hot[order])
