"""Where weights come from: files that fit in full, and what is said of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deo.errors import WeightsError
from deo.models import weights

MICRO = ["test_deo_swin", "test_deo_vit"]


def lose(state: dict) -> None:
    state.pop("norm.weight")


def add(state: dict) -> None:
    state["neck.weight"] = torch.zeros(2)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) * 2 // 3]
    elif how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "empty":
        content = bytearray()
    elif how == "pointer":
        content = bytearray(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    path.write_bytes(content)


@pytest.mark.parametrize(("held", "wanted"), [MICRO, MICRO[::-1]])
def test_from_file__another_model_names_both(
    tmp_path: Path, held: str, wanted: str, micro: Any
) -> None:
    path = tmp_path / "held.safetensors"
    weights.save_weights(micro.backbone(held), path)
    with pytest.raises(WeightsError, match=f"weights of {held}, not of {wanted}"):
        weights.load_backbone(wanted, weights=path)


@pytest.mark.parametrize("contract", ["{bad", "[1]", '"scene"'])
def test_from_file__a_contract_that_is_none_is_an_error(
    tmp_path: Path, contract: str, micro: Any
) -> None:
    path = tmp_path / "held.safetensors"
    weights.save_weights(micro.backbone(MICRO[0]), path, metadata={"contract": contract})
    with pytest.raises(WeightsError, match="hold no contract"):
        weights.load_backbone(MICRO[0], weights=path)


@pytest.mark.parametrize(("change", "message"), [(lose, "1 missing"), (add, "1 not part")])
@pytest.mark.parametrize("kind", ["released", "training", "ours"])
def test_from_file__one_tensor_wrong_is_an_error(
    name: str, kind: str, change: Callable, message: str, tmp_path: Path,
    published_layout: Callable, training_checkpoint: Callable, micro: Any,
) -> None:  # fmt: skip
    state = dict(micro.state_of(name))
    path = tmp_path / "file"
    if kind == "ours":
        change(state)
        save_file(state, path)
    else:
        content = published_layout(state) if kind == "released" else training_checkpoint(state)
        target = content if kind == "released" else content["student"]
        key = "norm.weight" if kind == "released" else "_orig_mod.module.backbone.norm.weight"
        if change is lose:
            del target[key]
        else:
            add(target)
        torch.save(content, path)
    with pytest.raises(WeightsError, match=f"file: these weights do not fit {name}: .*{message}"):
        weights.load_backbone(name, weights=path)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "pointer"])
def test_from_file__damaged_released_file(name: str, released: Path, how: str) -> None:
    damage(released, how)
    with pytest.raises(WeightsError, match=r"released\.pth .*(damaged|neither)"):
        weights.load_backbone(name, weights=released)


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_from_file__damaged_file_of_ours(name: str, saved: Path, how: str) -> None:
    damage(saved, how)
    with pytest.raises(WeightsError, match=r"saved\.safetensors .*(truncated|neither)"):
        weights.load_backbone(name, weights=saved)
