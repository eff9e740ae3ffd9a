"""Probes against scikit-learn and by what they can learn."""

import numpy as np
import pytest

from deo.errors import DataError
from deo.training.tasks import probes

RNG = np.random.default_rng(0)
CENTRES = 4 * RNG.normal(size=(3, 6))
LABELS = np.repeat(np.arange(3), 20)
FEATURES = CENTRES[LABELS] + RNG.normal(size=(60, 6))
NOISE = RNG.normal(size=(60, 6))


def test_logistic_probe__equals_scikit_learn_on_standardised_features() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wanted = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    wanted.fit(NOISE, LABELS)
    found = probes.logistic_probe(NOISE, LABELS, default=0.3)
    assert (found.predict(NOISE) == wanted.predict(NOISE)).all()


def test_logistic_probe__chooses_c_on_the_validation_part() -> None:
    rng = np.random.default_rng(3)
    wide = np.concatenate((FEATURES, 3 * rng.normal(size=(60, 60))), 1)
    train, held = np.arange(60) % 2 == 0, np.arange(60) % 2 == 1
    probe = probes.logistic_probe(
        wide[train], LABELS[train], validation=(wide[held], LABELS[held]), grid=(1e-8, 0.01, 1e4)
    )
    hits = [
        (probes.logistic_probe(wide[train], LABELS[train], default=c).predict(wide[held])
         == LABELS[held]).mean()
        for c in (1e-8, 0.01, 1e4)
    ]  # fmt: skip
    assert probe.c == (1e-8, 0.01, 1e4)[int(np.argmax(hits))]
    assert hits[0] < max(hits)


def test_logistic_probe__multilabel_with_a_class_that_never_occurs() -> None:
    labels = np.stack((LABELS == 0, LABELS == 1, np.zeros(60)), 1).astype(np.int64)
    found = probes.logistic_probe(FEATURES, labels).predict(FEATURES)
    assert found.shape == (60, 3)
    assert not found[:, 2].any()
    assert (found == labels).mean() > 0.95


def test_logistic_probe__one_class_is_no_task() -> None:
    with pytest.raises(DataError, match="two classes"):
        probes.logistic_probe(FEATURES, np.zeros(60, int))


def test_folds__spread_every_class() -> None:
    numbers = probes.folds(LABELS, count=5, seed=0)
    for label in range(3):
        assert np.bincount(numbers[label == LABELS]).tolist() == [4] * 5
    with pytest.raises(DataError, match="fewer folds"):
        probes.folds(LABELS[:3], count=5, seed=0)


def test_cross_validated_probe__learns_clusters_and_not_noise() -> None:
    grid = (0.01, 1.0)
    right = probes.cross_validated_probe(FEATURES, LABELS, grid=grid) == LABELS
    chance = probes.cross_validated_probe(NOISE, LABELS, grid=grid) == LABELS
    assert right.mean() > 0.9
    assert chance.mean() < 0.6


def test_pixel_probe__trains_on_the_left_half_alone() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random((20, 24)) < 0.4).astype(np.int64)
    features = np.stack(
        (labels + 0.1 * rng.normal(size=labels.shape), rng.normal(size=labels.shape))
    )
    half = probes.left_half(20, 24)
    assert half[:, :12].all()
    assert not half[:, 12:].any()
    shown = labels.copy()
    shown[:, 12:] = -1
    found = probes.pixel_probe(features, shown, train=half, most=100)
    assert (found == labels).mean() > 0.98
