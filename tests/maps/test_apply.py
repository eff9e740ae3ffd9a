from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError
from deo.maps import stack as stacks
from deo.maps.apply import Margin, apply_classifier
from deo.maps.classifiers import Classifier
from deo.maps.stack import open_stack

Make = Callable[..., Any]

EAST = Classifier(
    method="logistic", classes=("west", "east"), channels=6,
    arrays={"weight": np.array([[0] * 6, [1] + [0] * 5], np.float32),
            "bias": np.array([0, -3], np.float32)},
)  # fmt: skip


def test_apply_classifier__is_the_whole_map_at_once(
    feature_file: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    path = feature_file(height=23, width=600)
    with open_stack(path) as stack:
        whole = stack.read(stack.windows()[0]), stack.read(stack.windows()[1])
        monkeypatch.setattr(stacks, "_WINDOW_BYTES", 6 * 512 * 4 * 8)  # eight rows
        rows, areas = apply_classifier(
            stack, EAST, tmp_path / "rows", progress=lambda *count: told.append(count)
        )
    features = np.concatenate(whole, axis=2)
    wanted = 1 / (1 + np.exp(3 - features[0]))
    values = rows.values(0, 23)
    assert values.shape == (23, 2, 600)
    np.testing.assert_allclose(values[:, 1], wanted, atol=1e-6)
    assert np.isnan(values[:2]).all()
    assert told == [(number, 6) for number in range(1, 7)]
    cells = 21 * 600
    assert areas is not None
    assert areas.sum() == pytest.approx(cells * 1600, rel=2e-3)
    assert areas[1] / areas.sum() == pytest.approx((wanted[2:] > 0.5).mean(), rel=1e-3)
    margin = Margin(rows)
    assert margin.shape == (1, 23, 600)
    np.testing.assert_allclose(margin.values(5, 7)[:, 0], np.abs(2 * wanted[5:7] - 1), atol=1e-5)
    assert margin.valid(0, 3).tolist() == [[0.0] * 600, [0.0] * 600, [1.0] * 600]


def test_apply_classifier__refuses_another_number_of_features(
    feature_file: Make, tmp_path: Path
) -> None:
    with (
        open_stack(feature_file(channels=5)) as stack,
        pytest.raises(DataError, match="takes 6 features, and the maps hold 5"),
    ):
        apply_classifier(stack, EAST, tmp_path / "rows")
