"""What a checkpoint holds of a run: it comes back to the bit, and names its backbone."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from deo.training.config import Config
from deo.training.run import snapshot
from deo.training.run.distributed import Context
from deo.training.run.snapshot import random_state, restore_random_state
from deo.training.run.state import State, build
from deo.training.run.step import train_step


def images(seed: int) -> Tensor:
    return 3000 * torch.rand(4, 10, 40, 40, generator=torch.Generator().manual_seed(seed))


def stepped(config: Config, count: int) -> State:
    state = build(config, Context(), steps_per_epoch=6)
    for seed in range(count):
        train_step(state, images(seed), torch.arange(4))
    return state


def test_snapshot__goes_on_to_the_bit(tiny_config: Config) -> None:
    straight = stepped(tiny_config, 2)
    saved = copy.deepcopy(snapshot.take(straight))
    resumed = stepped(tiny_config, 1)
    snapshot.put_back(resumed, saved)
    assert resumed.step == 2
    records = []
    for state in (straight, resumed):
        torch.manual_seed(0)  # stochastic depth
        records.append(train_step(state, images(5), torch.arange(4)))
    assert records[0] == records[1]


def test_put_back__every_name_must_be_there(tiny_config: Config) -> None:
    state = stepped(tiny_config, 0)
    taken = snapshot.take(state)
    gone = taken._replace(student=dict(list(taken.student.items())[1:]))
    with pytest.raises(RuntimeError, match="Missing key"):
        snapshot.put_back(state, gone)


def test_backbone_of__has_the_names_of_timm(tiny_config: Config) -> None:
    state = stepped(tiny_config, 0)
    backbone = snapshot.backbone_of(snapshot.take(state).student)
    assert backbone.keys() == state.student.trunk.net.state_dict().keys()


def test_random_state__comes_back() -> None:
    saved = random_state()
    first = (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())
    restore_random_state(saved)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == first
