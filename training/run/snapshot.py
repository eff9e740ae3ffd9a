"""What a checkpoint holds of a run: taken from a state, put back, and read by export.

The optical teacher is not in it: it is frozen, and loaded again from its own source.
"""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from deo.training.run.state import State

_TRUNK = "trunk.net."
"""Where `student` and `teacher` both keep their backbone."""


class Snapshot(NamedTuple):
    """A run between two steps, as plain tensors and numbers; its field names are those on disk.

    Args:
        step: steps finished.
        student, teacher: parameters by name, whole ones where a run holds them in shards.
        optimizer, scaler: their state dictionaries.
    """

    step: int
    student: dict[str, Any]
    teacher: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]


def take(state: State) -> Snapshot:
    """Every process takes part; where parameters are sharded only the main one gets them."""
    if state.config.run.strategy == "fsdp":
        # gathered one parameter at a time and kept on the CPU: no device has to hold them all
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        student = get_model_state_dict(state.student, options=options)
        teacher = get_model_state_dict(state.teacher, options=options)
        optimizer = get_optimizer_state_dict(state.student, state.optimizer, options=options)
    else:
        student, teacher = state.student.state_dict(), state.teacher.state_dict()
        optimizer = state.optimizer.state_dict()
    return Snapshot(state.step, student, teacher, optimizer, state.scaler.state_dict())


def put_back(state: State, snapshot: Snapshot) -> None:
    """Go on from a snapshot; every name must be there."""
    if state.config.run.strategy == "fsdp":
        options = StateDictOptions(full_state_dict=True, strict=True)
        set_model_state_dict(state.student, snapshot.student, options=options)
        set_model_state_dict(state.teacher, snapshot.teacher, options=options)
        set_optimizer_state_dict(
            state.student, state.optimizer, snapshot.optimizer, options=options
        )
    else:
        state.student.load_state_dict(snapshot.student)
        state.teacher.load_state_dict(snapshot.teacher)
        state.optimizer.load_state_dict(snapshot.optimizer)
    state.scaler.load_state_dict(snapshot.scaler)
    state.step = snapshot.step


def backbone_of(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone among the parameters of `student` or `teacher`, under timm's names."""
    return {
        name.removeprefix(_TRUNK): tensor
        for name, tensor in parameters.items()
        if name.startswith(_TRUNK)
    }


def random_state() -> dict[str, Any]:
    """The state of every global generator of this process."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    words = np.asarray(keys).astype(np.int64)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(words), position, has_gauss, gauss],
        "python": list(random.getstate()),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put every global generator back."""
    torch.set_rng_state(state["torch"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
