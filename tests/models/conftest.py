"""Checkpoints in the published layouts, synthesised from a backbone of ours."""

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

State = dict[str, torch.Tensor]

HEADS = {"head_ms": 4, "cls_head": 6, "patch_head_late": 6, "patch_head_mid": 6}


def published_layout(ours: Mapping[str, torch.Tensor]) -> State:
    """Our names -> the released file's names, with projection heads and index buffers added."""
    state: State = {}
    for name, tensor in ours.items():
        for stem in ("ms", "rgb"):
            conv = "patch_embed_{}.proj" if "blocks.0.norm1.weight" in ours else "conv_{}.0"
            name = name.replace(f"patch_embed.{stem}.proj", conv.format(stem))
            name = name.replace(f"patch_embed.{stem}.norm", f"conv_{stem}.2")
        if match := re.fullmatch(r"layers\.(\d+)\.(blocks|downsample)\.(.*)", name):
            stage, part, rest = int(match[1]), match[2], match[3]
            rest = rest.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")
            name = f"features.{2 * stage - (part == 'downsample')}.{rest}"
        state[name] = tensor
        if name.endswith("relative_position_bias_table"):
            index = name.replace("bias_table", "index")
            state[index] = torch.zeros(tensor.shape[0], dtype=torch.int64)
    for head, width in HEADS.items():
        state |= {f"{head}.mlp.{i}.weight": torch.zeros(width, 3) for i in (0, 2, 4)}
        state |= {f"{head}.mlp.{i}.bias": torch.zeros(width) for i in (0, 2, 4)}
    return state


def training_checkpoint(ours: Mapping[str, torch.Tensor], *, compiled: bool = True) -> State:
    """What the public training code writes: the teacher has no red-green-blue stem."""
    wrapper = "_orig_mod.module." if compiled else "module."
    inside = re.compile(r"(features|blocks|norm|cls_token|pos_embed)\b")

    def wrapped(state: Mapping[str, torch.Tensor]) -> State:
        return {
            wrapper + ("backbone." if inside.match(name) else "") + name: tensor
            for name, tensor in state.items()
        }

    student = published_layout(ours)
    kept = re.compile(r"(?!cls_head|patch_head)(?!.*_rgb\.)")
    teacher = {name: tensor + 1 for name, tensor in student.items() if kept.match(name)}
    checkpoint: dict[str, Any] = {
        "student": wrapped(student),
        "teacher": wrapped(teacher),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "epoch": 7,
        "args": argparse.Namespace(arch="swin", data_path="shards"),
        "fp16_scaler": None,
    }
    return checkpoint


@pytest.fixture(scope="session", name="published_layout")
def _published_layout() -> Callable[[Mapping[str, torch.Tensor]], State]:
    return published_layout


@pytest.fixture(scope="session", name="training_checkpoint")
def _training_checkpoint() -> Callable[..., State]:
    return training_checkpoint
