"""Configurations as TOML, and changed from the command line."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deo.errors import ConfigError
from deo.files.records import differences
from deo.training.config import Config, Data, Run
from deo.training.method.config import Loss, Model, Optical, Switches, Views
from deo.training.recipes import RECIPES, recipe
from deo.training.settings import dumps, from_dict, load, override, to_dict

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@pytest.mark.parametrize("name", RECIPES)
def test_dumps__recipes_come_back(name: str) -> None:
    assert from_dict(tomllib.loads(dumps(recipe(name)))) == recipe(name)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(source=texts, option=texts, eps=st.floats(1e-30, 1e30), steps=st.none() | st.integers(1))
def test_dumps__anything_comes_back(
    source: str, option: str, eps: float, steps: int | None
) -> None:
    config = Config(
        data=Data(source=source),
        model=Model(options={option: [1, 2.5, True, source]}),
        loss=Loss(eps=eps),
        run=Run(steps=steps),
        switches=Switches.preset("original"),
    )
    assert from_dict(tomllib.loads(dumps(config))) == config


def test_override__values_of_every_kind() -> None:
    got = override(
        Config(),
        [
            "run.steps=30",
            "loss.eps = 1",
            "views.global_area=[0.3, 1]",
            "optical.name=dinov3_base",
            "model.options.window_size=8",
            "model.options={img_size = 64}",
            "run.precision=fp16",
            "run.compile=true",
            "switches=original",
            "switches.local_gram=false",
        ],
    )
    assert (got.run.steps, got.run.precision, got.run.compile) == (30, "fp16", True)
    assert got.loss == Loss(eps=1.0)
    assert got.views == Views(global_area=(0.3, 1.0))
    assert got.optical == Optical(name="dinov3_base")
    assert got.model.options == {"window_size": 8, "img_size": 64}
    assert not got.switches.local_gram
    assert got.switches.decay_tables
    assert override(got, ["run.steps=none"]).run.steps is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run.step=3", "unknown setting run.step; did you mean steps"),
        ("xyz.x=1", "unknown setting xyz; known are model, optical"),
        ("run.steps=many", "run.steps is 'many'; it must be a whole number or none"),
        ("run.steps=1.5", "must be a whole number"),
        ("run.steps=true", "must be a whole number"),
        ("run.compile=1", "must be true or false"),
        ("views.global_area=[1]", "must be 2 values, each a number"),
        ("run.precision=fp8", "must be one of auto, bf16, fp16, fp32"),
        ("loss.eps=-1", "loss.eps is -1.0; it must be positive"),
        ("run=3", "run is a section"),
        ("run.steps", "write section.name=value"),
        ("switches=mended", "unknown preset"),
        ("model.options=3", "must be a table"),
    ],
)
def test_override__teaches(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        override(Config(), [text])


def test_load__file_over_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('switches = "original"\n[run]\nepochs = 7\n')
    got = load(path, base=recipe("swin_t"))
    assert got.model == recipe("swin_t").model
    assert got.run.epochs == 7
    assert got.switches == Switches.preset("original")


@pytest.mark.parametrize("content", [b"run = ", b"\xff\xfe", b"[run]\nepochs = 'x'", None])
def test_load__unreadable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.(toml|epochs)"):
        load(path)


def test_differences__names_what_changed() -> None:
    new = override(Config(), ["run.epochs=50", "optical.weights=a.st"])
    changed = differences(to_dict(Config()), to_dict(new))
    assert sorted(map(str, changed)) == ["optical.weights: None -> 'a.st'", "run.epochs: 100 -> 50"]
    assert differences(to_dict(new), to_dict(new)) == []
