"""Sections refuse what cannot work; presets set every switch."""

import dataclasses

import pytest

from deo.errors import ConfigError
from deo.training.config import Config, Loss, Model, Optim, Run, Switches, Views


def test_config__is_frozen_and_comparable() -> None:
    assert Config() == Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().run = Run()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "values", "name"),
    [
        (Model, {"drop_path": 1.0}, "model.drop_path"),
        (Model, {"z": 1}, "model.z"),
        (Views, {"global_area": (0.5, 0.4)}, "views.global_area"),
        (Views, {"local_crops": -1}, "views.local_crops"),
        (Loss, {"eps": 0.0}, "loss.eps"),
        (Loss, {"eps": float("nan")}, "loss.eps"),
        (Optim, {"lr": 0.0}, "optim.lr"),
        (Optim, {"momentum": 1.5}, "optim.momentum"),
        (Run, {"steps": 0}, "run.steps"),
        (Run, {"batch_size": 0}, "run.batch_size"),
    ],
)
def test_sections__refuse_what_cannot_work(
    section: type, values: dict[str, object], name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} is .*; it must be"):
        section(**values)


def test_switches__presets() -> None:
    default, original = Switches.preset("default"), Switches.preset("original")
    assert default == Switches()
    assert all(dataclasses.asdict(original).values())
    on = {name for name, value in dataclasses.asdict(default).items() if value}
    assert on == {"cls_other_views"}
    assert Config().with_preset("original").switches == original
    with pytest.raises(ConfigError, match="default or original"):
        Switches.preset("mended")
