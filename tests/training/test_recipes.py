"""Recipes build, and the published run is the published run."""

import pytest

from deo.errors import ConfigError
from deo.models.registry import SPECS
from deo.training.method.optical_table import OPTICAL_TEACHERS
from deo.training.method.viewspecs import view_specs
from deo.training.recipes import RECIPES, recipe
from deo.training.run.state import build_schedules


@pytest.mark.parametrize("name", RECIPES)
def test_recipe__names_things_that_exist(name: str) -> None:
    config = recipe(name)
    assert config.model.name in SPECS
    assert config.optical.name in {"none", *OPTICAL_TEACHERS} | set(SPECS)
    assert len(view_specs(config.views)) == 2 + config.views.local_crops
    assert (RECIPES[name].__doc__ or "").count("Hardware:") == 1


def test_recipe__unknown() -> None:
    with pytest.raises(ConfigError, match="did you mean swin_t"):
        recipe("swint")


def test_swin_t__is_the_published_run() -> None:
    config = recipe("swin_t")
    schedules = build_schedules(config, steps_per_epoch=500_000 // 256, world_size=4)
    assert schedules.lr.steps == 195_300
    assert schedules.lr.base == pytest.approx(5e-4)
    assert schedules.lr.warmup == 19_530
    assert (schedules.weight_decay.base, schedules.momentum.base) == (0.04, 0.996)
    sizes = [spec.size for spec in view_specs(config.views)]
    assert sizes == [224] * 2 + [96] * 10
    assert (config.loss.eps, config.model.z, config.optical.name) == (0.05, 256, "dinov3_base")
