"""Losses against their loops."""

import math

import numpy as np
import pytest
import torch

from deo.training.tasks.objectives import balanced, class_weights, cross_entropy, one_hot_bce
from deo.training.tasks.scores import IGNORE

SCORES = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(-1, 3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.tensor([0.5, 1.0, 1.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_one_hot_bce__equals_the_loop(weights: torch.Tensor | None) -> None:
    values = []
    for b in range(2):
        for row in range(4):
            for col in range(4):
                label = int(TARGETS[b, row, col])
                if label == IGNORE:
                    continue
                total = 0.0
                for k in range(3):
                    p = torch.sigmoid(SCORES[b, k, row, col]).item()
                    weight = 1.0 if weights is None else weights[k].item()
                    total -= weight * math.log(p if k == label else 1 - p)
                values.append(total / 3)
    found = one_hot_bce(SCORES, TARGETS, weights).item()
    assert found == pytest.approx(sum(values) / len(values), rel=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy__equals_torch_where_anything_is_known(weights: torch.Tensor | None) -> None:
    wanted = torch.nn.functional.cross_entropy(SCORES, TARGETS, weights, ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(SCORES, TARGETS, weights), wanted)


@pytest.mark.parametrize("loss", [cross_entropy, one_hot_bce])
def test_losses__nothing_known_costs_nothing(loss: object) -> None:
    assert callable(loss)
    assert loss(SCORES, torch.full_like(TARGETS, IGNORE), None) == 0


def test_one_hot_bce__takes_multi_hot_labels() -> None:
    hot = torch.tensor([[1, 0, 1], [0, 0, 1]])
    scores = SCORES[:, :, 0, 0]
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(scores, hot.float())
    torch.testing.assert_close(one_hot_bce(scores, hot, None), wanted)


def test_class_weights__fall_with_the_root_of_the_count_and_are_1_on_average() -> None:
    weights = class_weights(np.array([100, 400, 0]))
    assert weights.mean() == pytest.approx(1)
    assert weights[0] == pytest.approx(2 * weights[1])
    assert weights[2] == pytest.approx(10 * weights[0])  # a class that never occurs counts as one


def test_balanced__by_ten_times_between_classes_that_occur() -> None:
    assert balanced("auto", np.array([1000, 100, 0]))
    assert not balanced("auto", np.array([999, 100, 0]))
    assert not balanced("auto", np.array([0, 0]))
    assert balanced("on", np.array([1, 1]))
    assert not balanced("off", np.array([1000, 1]))
