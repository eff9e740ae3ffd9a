"""The length of a run, and the size of its patches."""

from typing import Any, cast

import numpy as np
import pytest

from deo.training.tasks.patches import Example, Examples
from deo.training.tasks.plan import EPOCHS, LEAST_STEPS, Plan, choose_crop, choose_frozen, make_plan
from deo.training.tasks.tuneconfig import TuneConfig


@pytest.mark.parametrize(
    ("settings", "patches", "wanted"),
    [
        ({}, 8, Plan(20, 15, 1)),  # one step per pass: more passes, to make 300 steps
        ({}, 17, Plan(20, 8, 2)),
        ({}, 1600, Plan(20, 1, 100)),
        ({"epochs": 3}, 8, Plan(3, 1, 1)),  # what is asked for is done
        ({"steps": 30}, 100, Plan(5, 1, 7)),
        ({"steps": 1}, 100, Plan(1, 1, 7)),
        ({"steps": 1000}, 16, Plan(20, 50, 1)),
    ],
)
def test_make_plan(settings: dict[str, Any], patches: int, wanted: Plan) -> None:
    config = TuneConfig(batch=16, **{"warmup": 0, **settings})
    plan = make_plan(config, patches=patches)
    assert plan == wanted
    if not settings:
        assert plan.total >= LEAST_STEPS
        assert plan.epochs == EPOCHS


def test_make_plan__a_rest_that_is_too_small_is_no_step() -> None:
    config = TuneConfig(batch=16, epochs=1, warmup=0)
    assert [make_plan(config, patches=33, least=least).steps for least in (1, 2)] == [3, 2]


def test_plan__says_steps_of_each_pass_and_of_all() -> None:
    assert str(Plan(50, 10, 2)) == (
        "500 passes over the training samples, 2 steps each, 1000 steps in all; judged after every "
        "10"
    )


def examples(*sizes: tuple[int, int], tiles: bool = False) -> Examples:
    made = [
        Example(np.zeros((2, *size), np.float32), np.zeros(() if tiles else size, np.int64))
        for size in sizes
    ]
    return cast(Examples, made)


def test_choose_frozen__where_few_tiles_have_one_label_each() -> None:
    assert choose_frozen(examples(*[(8, 8)] * 499, tiles=True))
    assert not choose_frozen(examples(*[(8, 8)] * 500, tiles=True))
    assert not choose_frozen(examples((64, 64)))


def test_choose_crop__small_samples_whole_and_patches_of_others() -> None:
    assert choose_crop(examples((64, 64), (64, 64))) is None
    assert choose_crop(examples((512, 512))) == 96
    assert choose_crop(examples((64, 96), (96, 96))) == 64
    assert choose_crop(examples((300, 300), tiles=True)) is None
