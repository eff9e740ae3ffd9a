"""The change baseline without a network."""

import numpy as np

from deo.training.tasks.scores import IGNORE
from deo.training.tasks.thresholds import best_threshold, difference


def test_thresholds__best_f1_by_search() -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((30, 30)) < 0.2).astype(np.int64)
    image = np.stack((np.zeros((2, 30, 30)), np.stack([mask + 0.1, mask + 0.3])))
    values = difference(image.astype(np.float32))
    np.testing.assert_allclose(values, mask + 0.2, rtol=1e-6)
    assert 0.21 < best_threshold([values], [mask]) < 1.21


def test_best_threshold__unknown_pixels_do_not_count() -> None:
    values = np.array([[0.0, 1.0, 2.0, 3.0]], np.float32)
    mask = np.array([[0, 0, 1, IGNORE]])
    assert 1 < best_threshold([values], [mask]) <= 2
    assert best_threshold([values], [np.zeros((1, 4), np.int64)]) == 0  # F1 is 0 everywhere
