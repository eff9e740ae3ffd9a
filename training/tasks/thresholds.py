"""Change without a network: how far two dates differ, and from where on that is a change."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.training.tasks.scores import IGNORE, confusion, positive_f1

_CANDIDATES = 200


def difference(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference over bands: (2, C, H, W) normalised -> (H, W)."""
    return np.asarray(np.abs(image[0] - image[1]).mean(0), np.float32)


def best_threshold(
    differences: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.integer[Any]]]
) -> float:
    """The threshold with the highest F1 over all training pixels (ignored ones left out)."""
    seen = [mask != IGNORE for mask in masks]
    values = np.concatenate([one[part] for one, part in zip(differences, seen, strict=True)])
    truth = np.concatenate([one[part] for one, part in zip(masks, seen, strict=True)])
    candidates = np.unique(np.quantile(values, np.linspace(0, 1, _CANDIDATES)))
    scores = [
        positive_f1(
            confusion(truth, (values >= step).astype(np.int64), classes=2).astype(np.float64)
        )
        for step in candidates
    ]
    return float(candidates[int(np.nanargmax(scores))]) if np.isfinite(scores).any() else np.inf
