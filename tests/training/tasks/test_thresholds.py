"""Standardised differences of two dates, and the best threshold on them."""

import numpy as np
import pytest

from deo.training.tasks.dataset import Sample
from deo.training.tasks.scores import confusion, positive_f1
from deo.training.tasks.thresholds import best_threshold, magnitude, standardised_differences


def test_standardised_differences__take_off_sun_and_scale() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(1000, 200, (2, 20, 20)).astype(np.float32)
    second = first + rng.normal(0, 10, first.shape).astype(np.float32)
    second[:, 5, 5] += 300
    valid = np.ones((20, 20), bool)
    valid[0] = False
    mask = np.zeros((20, 20), np.int64)
    one = standardised_differences(Sample(np.stack((first, second)), mask, valid))
    np.testing.assert_allclose(one[:, valid].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(one[:, valid].std(1), 1, rtol=1e-5)
    assert not one[:, 0].any()
    brighter = np.stack((first, 3 * first + 700 + 3 * (second - first) - 2 * first))
    other = standardised_differences(Sample(brighter, mask, valid))
    np.testing.assert_allclose(other, one, atol=1e-3)
    assert np.unravel_index(magnitude(one).argmax(), (20, 20)) == (5, 5)
    hidden = Sample(np.stack((first, second)), mask, np.zeros((20, 20), bool))
    assert not standardised_differences(hidden).any()


@pytest.mark.parametrize("seed", [0, 1])
def test_best_threshold__is_the_loop_over_candidates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random(500) < 0.2).astype(np.int64)
    values = (truth + rng.normal(0, 0.7, 500)).astype(np.float32)
    candidates = np.unique(np.quantile(values, np.linspace(0, 1, 200)))
    scores = [
        positive_f1(confusion(truth, (values >= one).astype(np.int64), classes=2) * 1.0)
        for one in candidates
    ]
    assert best_threshold(values, truth) == candidates[int(np.nanargmax(scores))]


def test_best_threshold__where_nothing_changed_is_the_lowest_value() -> None:
    assert best_threshold(np.array([0.0, 1.0, 2.0], np.float32), np.zeros(3, np.int64)) == 0
