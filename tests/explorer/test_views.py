"""What is seen equals a plain computation with NumPy and scikit-learn."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deo.explorer.labelling import Labelling
from deo.explorer.paint import ramp_colours
from deo.explorer.views import (
    ChangeView,
    ClassesView,
    ComponentsView,
    SimilarityView,
    UncertaintyView,
)
from deo.maps.classifiers import fit_classifier

Make = Callable[..., Any]


def decoded(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_similarity__is_the_cosine(synthetic: Make, write_map: Make, opened: Make) -> None:
    data = synthetic()
    levels = opened(write_map(data))
    view = SimilarityView(levels, levels.sample(), data[:, 9, 20])
    tile = levels.tile(0, 0, 0)
    seen = tile.laid_out(view.of(tile.vectors, tile.lengths))
    lengths = np.linalg.norm(data, axis=0)
    wanted = np.einsum("chw,c->hw", data, data[:, 9, 20]) / lengths / lengths[9, 20]
    np.testing.assert_allclose(seen, wanted, atol=1e-6)
    assert seen[9, 20] == pytest.approx(1, abs=1e-6)
    image = decoded(view.png(0, 0, 0))
    assert image[9, 20, :3].tolist() == ramp_colours()[254].tolist()
    assert (image[..., 3] == 0).sum() == 2 * 30
    assert "1 (the same)" in view.legend()["high"]


def test_classes_and_uncertainty__are_those_of_scikit_learn(
    synthetic: Make, write_map: Make, opened: Make
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    data = synthetic()
    levels = opened(write_map(data))
    rows, cols = np.array([4, 9, 15, 5, 11, 17]), np.array([2, 7, 12, 18, 22, 28])
    numbers = np.array([0, 0, 0, 1, 1, 1])
    vectors = data[:, rows, cols].T
    classifier = fit_classifier(vectors, numbers, ["east", "west"])
    scaler = StandardScaler().fit(vectors.astype(np.float64))
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(scaler.transform(vectors), numbers)
    tile = levels.tile(0, 0, 0)
    shares = model.predict_proba(scaler.transform(tile.vectors.astype(np.float64)))
    labelling = Labelling().with_class("west", "#0000ff").with_class("east", "#ff0000")
    image = decoded(ClassesView(levels, classifier, labelling).png(0, 0, 0))
    wanted = np.array([[255, 0, 0], [0, 0, 255]])[shares.argmax(axis=1)]
    np.testing.assert_array_equal(image.reshape(-1, 4)[tile.known, :3], wanted)
    uncertainty = UncertaintyView(levels, classifier).of(tile.vectors)
    np.testing.assert_allclose(uncertainty, 1 - np.abs(shares[:, 0] - shares[:, 1]), atol=2e-3)


def test_change__is_one_minus_the_cosine_of_two_dates(
    synthetic: Make, write_map: Make, opened: Make
) -> None:
    first, second = synthetic(seed=0), synthetic(seed=1)
    levels = opened(write_map(first, "a.tif"), write_map(second, "b.tif"))
    view = ChangeView(levels, levels.sample())
    tile = levels.tile(0, 0, 0)
    lengths = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    wanted = 1 - np.einsum("chw,chw->hw", first, second) / lengths
    np.testing.assert_allclose(tile.laid_out(view.of(tile.vectors)), wanted, atol=1e-6)
    assert decoded(view.png(0, 0, 0)).shape == (20, 30, 4)


def test_components__give_the_halves_different_colours(
    synthetic: Make, write_map: Make, opened: Make
) -> None:
    levels = opened(write_map(synthetic()))
    view = ComponentsView(levels, levels.sample())
    image = decoded(view.png(0, 0, 0)).astype(float)
    west, east = image[2:, :15, 0].mean(), image[2:, 15:, 0].mean()
    assert abs(west - east) > 100
    assert view.legend()["key"][0]["text"].startswith("Component 1: ")
