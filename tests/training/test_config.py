"""The sections of a run refuse what cannot work."""

import dataclasses

import pytest

from deo.errors import ConfigError
from deo.training.config import Config, Optim, Run


def test_config__is_frozen_and_comparable() -> None:
    assert Config() == Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().run = Run()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("section", "values", "name"),
    [
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
