"""Change without a network: how far two dates differ, and from where on that is a change."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.training.tasks.dataset import Sample

_CANDIDATES = 200


def standardised_differences(sample: Sample) -> NDArray[np.float32]:
    """How far the second date of a pair is from the first: (C, H, W), 0 where not valid.

    The mean difference of the pair is taken off each band and its standard deviation divided by,
    so that neither another sun nor a band of larger numbers passes for change.
    """
    difference = sample.image[1].astype(np.float64) - sample.image[0]
    seen = difference[:, sample.valid]
    if not seen.size:
        return np.zeros(difference.shape, np.float32)
    mean, spread = seen.mean(1)[:, None, None], seen.std(1)[:, None, None]
    scaled = (difference - mean) / np.where(spread > 0, spread, 1)
    return np.where(sample.valid, scaled, 0).astype(np.float32)


def magnitude(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of the vector of change, over the root of its bands: (C, H, W) -> (H, W)."""
    return np.asarray(np.sqrt((differences**2).mean(0)), np.float32)


def best_threshold(values: NDArray[np.float32], truth: NDArray[np.integer[Any]]) -> float:
    """The threshold with the highest F1, among quantiles of the values: (N,) and (N,) of 0 and 1.

    Values at the threshold or above count as change. Where no pixel changed, F1 is 0 everywhere,
    and the lowest of the values is taken.
    """
    candidates = np.unique(np.quantile(values, np.linspace(0, 1, _CANDIDATES)))
    order = np.argsort(values)
    below = np.searchsorted(values[order], candidates)  # values that are no change, by candidate
    right_below = np.concatenate(([0], np.cumsum(truth[order])))[below]
    positives, called = truth.sum(), len(values) - below
    f1 = 2 * (positives - right_below) / np.maximum(called + positives, 1)
    return float(candidates[int(np.argmax(f1))])
