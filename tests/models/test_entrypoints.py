"""What timm calls: every tensor filled, or an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from deo.bands import BandSet
from deo.errors import WeightsError

MICRO = ["test_deo_swin", "test_deo_vit"]
FOUR = BandSet(["B08", "B04", "B03", "B02"])


def test_create_model__overlay_takes_every_layout(
    name: str, saved: Path, released: Path, training_checkpoint: Callable, micro: Any
) -> None:
    trained = saved.with_name("checkpoint.pth")
    torch.save(training_checkpoint(micro.state_of(name), compiled=False), trained)
    for path in (saved, released, trained):
        overlay = {"file": str(path)}
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        assert micro.same(model, micro.state_of(name))
    for kwargs in ({"in_chans": 3}, {"in_chans": 10}, {"features_only": True}, {"bands": FOUR}):
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": str(released)}, **kwargs
        )
        own = getattr(model, "model", model).state_dict()
        source = micro.state_of(name)
        own.pop("patch_embed.ms.proj.weight", None)
        assert own
        assert all(torch.equal(own[key], source[key]) for key in own)


def test_create_model__overlay_that_does_not_fit(name: str, released: Path, tmp_path: Path) -> None:
    other = next(micro for micro in MICRO if micro != name)
    for file, model, message in (
        (released, other, f"do not fit {other}"),
        (tmp_path / "absent.pth", name, "cannot read weights"),
    ):
        with pytest.raises(WeightsError, match=message):
            timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": str(file)})
    with pytest.raises(WeightsError, match="no public weights"):
        timm.create_model(name, pretrained=True)


def test_create_model__new_classifier_is_random_and_nothing_else(
    name: str, released: Path, micro: Any
) -> None:
    overlay = {"file": str(released)}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5)
    own, source = model.state_dict(), micro.state_of(name)
    assert {key for key in own if key.startswith("head.")} == own.keys() - source.keys()
    assert all(torch.equal(own[key], source[key]) for key in source)


def test_create_model__checkpoint_path_with_a_published_file(name: str, released: Path) -> None:
    with pytest.raises(WeightsError, match=r"pretrained_cfg_overlay.*deo convert"):
        timm.create_model(name, checkpoint_path=str(released))


def test_create_model__checkpoint_path_with_a_training_checkpoint(
    name: str, tmp_path: Path, training_checkpoint: Callable, micro: Any
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(training_checkpoint(micro.state_of(name)), path)
    for kwargs in ({}, {"features_only": True}):
        with pytest.raises(WeightsError, match=r"pretrained_cfg_overlay.*deo convert"):
            timm.create_model(name, checkpoint_path=str(path), **kwargs)


def test_create_model__checkpoint_path_with_a_file_of_ours(
    name: str, saved: Path, micro: Any
) -> None:
    assert micro.same(timm.create_model(name, checkpoint_path=str(saved)), micro.state_of(name))


@pytest.mark.parametrize(
    "kwargs", [{}, {"in_chans": 3}, {"bands": FOUR.names}, {"num_classes": 4}, {"in_chans": 5}]
)
def test_create_model__local_dir_round_trip(
    name: str, tmp_path: Path, kwargs: dict, micro: Any
) -> None:
    from timm.models import save_for_hf

    model = micro.backbone(name, **kwargs)
    save_for_hf(model, tmp_path, model_args=kwargs, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert micro.same(again, model.state_dict())


@pytest.mark.parametrize("how", ["empty", "one missing", "another model"])
def test_create_model__local_dir_that_does_not_fit(
    name: str, tmp_path: Path, how: str, micro: Any
) -> None:
    from timm.models import save_for_hf

    save_for_hf(micro.backbone(name), tmp_path, safe_serialization=True)
    stored = tmp_path / "model.safetensors"
    if how == "empty":
        for path in tmp_path.glob("*model.*"):
            path.unlink()
    elif how == "one missing":
        state = load_file(stored)
        state.pop("norm.bias")
        save_file(state, stored)
    else:
        other = next(micro for micro in MICRO if micro != name)
        save_file(micro.backbone(other).state_dict(), stored)
    with pytest.raises(WeightsError):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
