"""Classifiers of features: fitted by scikit-learn, held as plain arrays, applied with NumPy.

What is fitted and what was read from a file run through the same lines, so that both give the same
map to the byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, did_you_mean, require
from deo.maps.label_files import EXTRA

METHODS = ("logistic", "neighbours", "forest")
NEIGHBOURS = 5
_TREES = 100
_PART = 8192
"""Cells at once."""
_DISTANCES = 2**24
"""Distances at once, 64 MiB of them."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What takes features to the probabilities of classes.

    Args:
        method: one of `METHODS`.
        classes: names, in the order of the probabilities.
        channels: of the features.
        arrays: the parameters; which ones depends on the method.
    """

    method: str
    classes: tuple[str, ...]
    channels: int
    arrays: Arrays

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, channels) -> (n, classes), each row of sum 1; NaN where a feature is."""
        out = np.full((len(vectors), len(self.classes)), np.nan, np.float32)
        known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        for start in range(0, len(known), _PART):
            part = known[start : start + _PART]
            out[part] = self.of_known(vectors[part])
        return out

    def of_known(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of vectors that hold no NaN."""
        out = np.empty((len(vectors), len(self.classes)), np.float32)
        examples = self.arrays.get("examples")
        step = _PART if examples is None else max(1, min(_PART, _DISTANCES // len(examples)))
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            out[part] = _APPLY[self.method](self.arrays, vectors[part], len(self.classes))
        return out


def fit_classifier(
    vectors: NDArray[np.float32],
    numbers: NDArray[np.intp],
    classes: Sequence[str],
    *,
    method: str = "logistic",
) -> Classifier:
    """Fit a classifier; the same examples always give the same one.

    Features are standardised first by the mean and the deviation of the examples. Logistic
    regression and the forest give every class the same weight, because how many cells were
    labelled says how much was drawn, not how much there is.

    Args:
        vectors: (n, channels), finite.
        numbers: of the class of each, 0 to k - 1, all of which occur.
        method: `logistic` (regression with an L2 penalty, C = 1), `neighbours` (votes of the five
            nearest) or `forest` (100 trees).

    Raises:
        ConfigError: there is no such method.
        MissingExtraError: the extra `classify` is not installed.
    """
    if method not in METHODS:
        raise ConfigError(f"there is no classifier {method!r}; {did_you_mean(method, METHODS)}")
    centre, spread = _standard(vectors)
    fit: Callable[..., dict[str, NDArray[Any]]] = _FIT[method]
    arrays = fit((vectors - centre) / spread, numbers, centre, spread)
    return Classifier(
        method=method, classes=tuple(classes), channels=vectors.shape[1], arrays=arrays
    )


def _standard(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each feature; 1 where the deviation is next to nothing."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    spread = vectors.std(axis=0, dtype=np.float64)
    spread[spread <= 1e-6 * np.abs(centre)] = 1.0
    return centre.astype(np.float32), spread.astype(np.float32)


def _fit_logistic(
    scaled: NDArray[np.float32], numbers: NDArray[np.intp], centre: Any, spread: Any
) -> dict[str, NDArray[Any]]:
    """A weight for each class and feature as it comes, and a bias for each class."""
    linear = require("sklearn.linear_model", extra=EXTRA)
    model = linear.LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(scaled.astype(np.float64), numbers)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes, the second one's log odds
        weight, bias = np.vstack((0 * weight, weight)), np.append(0, bias)
    weight = weight / spread.astype(np.float64)
    bias = bias - weight @ centre.astype(np.float64)
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def _apply_logistic(
    arrays: Arrays, vectors: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    scores = vectors @ arrays["weight"].T + arrays["bias"]
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    shares: NDArray[np.float32] = scores / scores.sum(axis=1, keepdims=True)
    return shares


def _fit_neighbours(
    scaled: NDArray[np.float32], numbers: NDArray[np.intp], centre: Any, spread: Any
) -> dict[str, NDArray[Any]]:
    """The examples themselves."""
    return {"centre": centre, "spread": spread, "examples": scaled, "numbers": numbers}


def _apply_neighbours(
    arrays: Arrays, vectors: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Votes of the nearest examples by Euclidean distance."""
    examples, numbers = arrays["examples"], arrays["numbers"]
    scaled = (vectors - arrays["centre"]) / arrays["spread"]
    # the square of the vector itself is the same for all examples
    distances = np.square(examples).sum(axis=1) - 2 * (scaled @ examples.T)
    count_near = min(NEIGHBOURS, len(examples))
    nearest = np.argpartition(distances, count_near - 1, axis=1)[:, :count_near]
    votes = np.zeros((len(vectors), count), np.float32)
    for column in nearest.T:
        votes[np.arange(len(votes)), numbers[column]] += 1
    return votes / np.float32(count_near)


def _fit_forest(
    scaled: NDArray[np.float32], numbers: NDArray[np.intp], centre: Any, spread: Any
) -> dict[str, NDArray[Any]]:
    """The nodes of all trees one after the other; `first` says where each tree begins."""
    ensemble = require("sklearn.ensemble", extra=EXTRA)
    model = ensemble.RandomForestClassifier(
        _TREES, class_weight="balanced", random_state=0, n_jobs=1
    )
    model.fit(scaled, numbers)
    trees = [one.tree_ for one in model.estimators_]
    first = np.cumsum([0, *(tree.node_count for tree in trees)])
    shares = np.concatenate([tree.value[:, 0] for tree in trees])
    shares /= shares.sum(axis=1, keepdims=True)
    return {
        "centre": centre,
        "spread": spread,
        "first": first[:-1],
        # a leaf leads to itself
        "left": _children([tree.children_left for tree in trees], first),
        "right": _children([tree.children_right for tree in trees], first),
        "feature": np.concatenate([tree.feature.clip(0) for tree in trees]),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "shares": shares,
    }


def _children(of_trees: Sequence[NDArray[np.intp]], first: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.concatenate(
        [
            np.where(children < 0, np.arange(len(children)), children) + begin
            for children, begin in zip(of_trees, first, strict=False)
        ]
    )


def _apply_forest(arrays: Arrays, vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The mean of the shares in the leaf of each tree."""
    left, right, feature, threshold = (
        arrays[name] for name in ("left", "right", "feature", "threshold")
    )
    scaled = (vectors - arrays["centre"]) / arrays["spread"]
    cells = np.arange(len(scaled))
    total = np.zeros((len(scaled), count))
    for begin in arrays["first"]:
        node = np.full(len(scaled), begin)
        while True:
            below = scaled[cells, feature[node]] <= threshold[node]
            further = np.where(below, left[node], right[node])
            if np.array_equal(further, node):
                break
            node = further
        total += arrays["shares"][node]
    return (total / len(arrays["first"])).astype(np.float32)


_FIT: dict[str, Callable[..., dict[str, NDArray[Any]]]] = {
    "logistic": _fit_logistic,
    "neighbours": _fit_neighbours,
    "forest": _fit_forest,
}
_APPLY: dict[str, Callable[[Arrays, Any, int], NDArray[np.float32]]] = {
    "logistic": _apply_logistic,
    "neighbours": _apply_neighbours,
    "forest": _apply_forest,
}
