"""The micro backbones, and checkpoints in the published layouts synthesised from them."""

import argparse
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from deo.models import weights

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


MICRO = ["test_deo_swin", "test_deo_vit"]


class Micro:
    """The micro backbones, the same ones in every test."""

    @staticmethod
    def backbone(name: str, **kwargs: object) -> torch.nn.Module:
        """One in evaluation mode, from the seed 0."""
        torch.manual_seed(0)
        return timm.create_model(name, **kwargs).eval()

    @functools.cache
    @staticmethod
    def state_of(name: str) -> State:
        """Of `backbone(name)`; copy it before changing it."""
        return Micro.backbone(name).state_dict()

    @staticmethod
    def same(left: torch.nn.Module, theirs: State) -> bool:
        """Whether a model has exactly these tensors."""
        ours = left.state_dict()
        return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="session")
def micro() -> type[Micro]:
    return Micro


@pytest.fixture(params=MICRO)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def saved(name: str, tmp_path: Path) -> Path:
    """A file of ours."""
    path = tmp_path / "saved.safetensors"
    weights.save_weights(Micro.backbone(name), path, contract={"name": "scene"})
    return path


@pytest.fixture
def released(name: str, tmp_path: Path) -> Path:
    """A file in the published layout."""
    path = tmp_path / "released.pth"
    torch.save(published_layout(Micro.state_of(name)), path)
    return path
