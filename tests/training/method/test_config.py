"""The sections of the method refuse what cannot work; presets set every switch."""

import dataclasses

import pytest

from deo.errors import ConfigError
from deo.training.method.config import Loss, Model, Switches, Views


@pytest.mark.parametrize(
    ("section", "values", "name"),
    [
        (Model, {"drop_path": 1.0}, "model.drop_path"),
        (Model, {"z": 1}, "model.z"),
        (Views, {"global_area": (0.5, 0.4)}, "views.global_area"),
        (Views, {"local_crops": -1}, "views.local_crops"),
        (Loss, {"eps": 0.0}, "loss.eps"),
        (Loss, {"eps": float("nan")}, "loss.eps"),
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
    with pytest.raises(ConfigError, match="default or original"):
        Switches.preset("mended")
