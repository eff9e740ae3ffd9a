"""The observer that saves, and what a run refuses to go on with."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deo.errors import ConfigError
from deo.training import settings
from deo.training.config import Config
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import Checkpoint
from deo.training.run.distributed import Context
from deo.training.run.saving import Inputs, Saver, refuse_changes, resume_from
from deo.training.run.state import State, build
from deo.training.run.stopping import Stopped

INPUTS = Inputs(data={"samples": 24, "fingerprint": "abc"}, custom={})


@pytest.fixture
def state(tiny_config: Config) -> State:
    return build(tiny_config, Context(), steps_per_epoch=6)


def saver(folder: Path, *, signal: int = 0, every: int = 3) -> Saver:
    request: Any = SimpleNamespace(agreed=lambda: signal)
    return Saver(folder, every=every, keep=2, inputs=INPUTS, request=request)


def test_saver__saves_every_few_steps_and_after_the_last(state: State, tmp_path: Path) -> None:
    observe: Any = saver(tmp_path)
    for step in range(1, 9):
        state.step = step
        observe(state, None, None)
    assert [path.stem for path in checkpoints.saved(tmp_path)] == ["step-00000006", "step-00000008"]


def test_saver__saves_before_it_stops(state: State, tmp_path: Path) -> None:
    observe: Any = saver(tmp_path, signal=15)
    state.step = 2
    with pytest.raises(Stopped, match="SIGTERM: saved after step 2"):
        observe(state, None, None)
    assert [path.stem for path in checkpoints.saved(tmp_path)] == ["step-00000002"]


def test_resume_from__weights_step_and_generators_come_back(state: State, tmp_path: Path) -> None:
    state.step = 3
    path = saver(tmp_path).write(state)
    assert path is not None
    wanted = {name: tensor.clone() for name, tensor in state.student.state_dict().items()}
    draw = torch.rand(3)
    for tensor in state.student.parameters():
        tensor.data.zero_()
    state.step = 7
    resume_from(state, checkpoints.load(path))
    assert state.step == 3
    assert torch.equal(torch.rand(3), draw)
    assert all(torch.equal(t, wanted[name]) for name, t in state.student.state_dict().items())


def refusal(asked: Config, inputs: Inputs = INPUTS, *, world_size: int = 1, **saved: Any) -> str:
    """What is said of going on under a configuration; empty where it may."""
    content = {"config": settings.to_dict(asked), "data": INPUTS.data, "custom": {}} | saved
    checkpoint = Checkpoint(step=1, state={}, randomness=[{}], **content)
    try:
        refuse_changes(checkpoint, asked, inputs, world_size=world_size)
    except ConfigError as error:
        return str(error)
    return ""


def test_refuse_changes__the_same_run_goes_on(tiny_config: Config) -> None:
    assert refusal(tiny_config) == ""
    free = settings.override(
        tiny_config, ["run.workers=7", "run.keep=9", "monitor.probe_every=2", "data.source=moved"]
    )
    assert refusal(tiny_config, config=settings.to_dict(free)) == ""


def test_refuse_changes__every_difference_is_shown(tiny_config: Config) -> None:
    other = replace(tiny_config, loss=replace(tiny_config.loss, eps=0.5))
    said = refusal(
        tiny_config,
        Inputs(data=INPUTS.data, custom={"views": {"name": "mine"}}),
        world_size=2,
        config=settings.to_dict(other),
    )
    assert "loss.eps: 0.5 -> 0.05" in said
    assert "views" in said
    assert "processes: 1 -> 2" in said
    assert "Repeat the saved one to resume" in said


def test_refuse_changes__other_data_are_refused(tiny_config: Config) -> None:
    other = Inputs(data={"samples": 25, "fingerprint": "abd"}, custom={})
    assert "25" in refusal(tiny_config, other)
