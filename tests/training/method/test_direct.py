"""Direct distillation: similarities as the slow loop has them, and terms that see every part."""

import pytest
import torch
import torch.nn.functional as F

from deo.training.method.clean import CELL_STATISTICS, VIEW_STATISTICS, Targets
from deo.training.method.direct import (
    Answers,
    DirectHeads,
    direct_terms,
    similarity_error,
    similarity_target,
)
from deo.training.method.layers import Widths


def targets(views: int = 4) -> Targets:
    torch.manual_seed(0)
    return Targets(
        cls=torch.randn(views, 8),
        mid=torch.randn(views, 3, 4, 4),
        late=torch.randn(views, 5, 2, 2),
        cells=torch.randn(views, CELL_STATISTICS, 8, 8),
        statistics=torch.randn(views, VIEW_STATISTICS),
    )


def test_similarity_error__equals_the_slow_loop() -> None:
    torch.manual_seed(0)
    features, target = torch.randn(5, 7), torch.randn(5, 3)
    a, b = features - features.mean(0), target - target.mean(0)
    error = torch.zeros(())
    for i in range(5):
        for j in range(5):
            if i != j:
                difference = F.cosine_similarity(a[i], a[j], 0) - F.cosine_similarity(b[i], b[j], 0)
                error += difference**2
    torch.testing.assert_close(similarity_error(features, target), error / 20)


def test_similarity_error__does_not_see_turns_shifts_and_scale() -> None:
    torch.manual_seed(0)
    target = torch.randn(6, 4)
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    assert similarity_error(3 * target @ turn + 2, target) < 1e-10
    assert similarity_error(torch.randn(6, 4), target) > 1e-2


def test_similarity_target__is_the_middle_layer_and_the_statistics_at_equal_length() -> None:
    seen = targets(4000)
    rows = similarity_target(seen)
    optical, statistics = rows[:, :3].square().sum(1), rows[:, 3:].square().sum(1)
    assert rows.shape[1] == 3 + VIEW_STATISTICS
    assert optical.mean().item() == pytest.approx(1, rel=0.05)
    assert statistics.mean().item() == pytest.approx(1, rel=0.05)
    changed = seen._replace(cls=seen.cls + torch.tensor([0.0] * 3 + [1.0] * 5))
    assert torch.equal(similarity_target(changed), rows), "the late layer has no part in it"


def test_direct_terms__of_perfect_answers() -> None:
    seen = targets()
    said = Answers(pooled=similarity_target(seen), **seen._asdict())
    of_rgb = Answers(*(x[:2] for x in said))
    terms = direct_terms([said, of_rgb], seen)
    assert terms.cls.item() == pytest.approx(1)
    assert terms.patch.item() == pytest.approx(1)
    assert terms.statistics == 0
    assert terms.similarity < 1e-10


@pytest.mark.parametrize("stem", [0, 1])
@pytest.mark.parametrize("part", ["cls", "mid", "late", "cells", "statistics", "pooled"])
def test_direct_terms__see_every_part_of_both_stems(stem: int, part: str) -> None:
    seen = targets()
    said = Answers(pooled=similarity_target(seen), **seen._asdict())
    answers = [said, Answers(*(x[:2] for x in said))]
    spoilt = {part: torch.randn_like(getattr(answers[stem], part))}
    answers[stem] = answers[stem]._replace(**spoilt)
    terms = direct_terms(answers, seen)
    losses = {
        "cls": 1 - terms.cls,
        "mid": 1 - terms.patch,
        "late": 1 - terms.patch,
        "cells": terms.statistics,
        "statistics": terms.statistics,
        "pooled": terms.similarity,
    }
    assert losses[part] > 1e-3


def test_direct_heads__are_linear() -> None:
    torch.manual_seed(0)
    heads = DirectHeads([4, 6, 8, 10], optical=Widths(cls=99, mid=3, late=5))
    maps = [torch.randn(2, c, s, s) for c, s in ((4, 8), (6, 4), (8, 2), (10, 1))]
    once, twice = heads(maps), heads([2 * x for x in maps])
    zero = heads([torch.zeros_like(x) for x in maps])
    assert once.cls.shape == (2, 8), "both layers of the teacher, joined"
    assert once.mid.shape == (2, 3, 4, 4)
    for a, b, c in zip(once, twice, zero, strict=True):
        torch.testing.assert_close(b - c, 2 * (a - c))
    torch.testing.assert_close(once.pooled, maps[3].mean((2, 3)))
