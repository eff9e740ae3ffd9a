"""Published names and checkpoints -> ours: complete or an error."""

import json
import pickle
import re
from pathlib import Path

import pytest
import torch

import deo  # noqa: F401
from deo.errors import WeightsError
from deo.models import convert
from deo.models.registry import SPECS, shapes

KEYS = {
    "swin_t_w7": "deo_swin_t",
    "swin_s_w7": "deo_swin_s",
    "swin_b_w12": "deo_swin_b",
    "vit_small_p16": "deo_vit_s",
    "vit_base_p8": "deo_vit_b",
}
MICRO = ["test_deo_swin", "test_deo_vit"]


def micro(name: str) -> dict[str, torch.Tensor]:
    """A whole micro backbone in which every value tells where it belongs."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(shape, generator=generator) for key, shape in shapes(SPECS[name]).items()
    }


def meta(described: dict) -> dict[str, torch.Tensor]:
    return {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for name, (shape, dtype) in described.items()
    }


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("arch", KEYS)
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_to_deo__names_that_the_public_code_writes(shared: Path, arch: str, prefix: str) -> None:
    described = json.loads((shared / f"golden/backbones/keys_{arch}.json").read_text())
    expected = shapes(SPECS[KEYS[arch]])
    checkpoint = {
        part: {prefix + name: tensor for name, tensor in meta(described[part]).items()}
        for part in ("student", "teacher")
    }
    student = convert.to_deo(checkpoint, expected, model=arch)
    assert student.tensors.keys() == expected.keys()
    assert len(student.dropped) == len(described["student"]) - len(expected)
    teacher = convert.to_deo(checkpoint, expected, model=arch, teacher=True)
    assert teacher.tensors.keys() == {n for n in expected if not n.startswith("patch_embed.rgb.")}

    released = {
        re.sub(r"^module\.(backbone\.)?", "", n): t for n, t in checkpoint["student"].items()
    }
    released = {re.sub(r"^_orig_mod\.module\.(backbone\.)?", "", n): t for n, t in released.items()}
    assert any(name.startswith(("features.0", "blocks.0")) for name in released)
    assert convert.to_deo(released, expected, model=arch).tensors.keys() == expected.keys()


@pytest.mark.parametrize("name", MICRO)
def test_to_deo__every_layout_gives_the_same_tensors(
    name: str, published_layout, training_checkpoint
) -> None:
    ours, expected = micro(name), shapes(SPECS[name])
    assert equal(convert.to_deo(ours, expected, model=name).tensors, ours)
    released = convert.to_deo(published_layout(ours), expected, model=name)
    assert equal(released.tensors, ours)
    assert released.layout == "published state dict"
    for compiled in (True, False):
        checkpoint = training_checkpoint(ours, compiled=compiled)
        student = convert.to_deo(checkpoint, expected, model=name)
        assert equal(student.tensors, ours)
        teacher = convert.to_deo(checkpoint, expected, model=name, teacher=True).tensors
        assert equal(
            teacher, {n: t + 1 for n, t in ours.items() if not n.startswith("patch_embed.rgb.")}
        )


def test_our_name__prefixes_are_not_replaced_inside_names() -> None:
    ours = micro("test_deo_vit")
    odd = {f"module.{name}".replace("norm.", "module.norm."): t for name, t in ours.items()}
    with pytest.raises(WeightsError, match="not fit"):
        convert.to_deo(
            {n.replace("blocks.0", "blocks.module.0"): t for n, t in odd.items()},
            shapes(SPECS["test_deo_vit"]),
            model="test_deo_vit",
        )


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("features.0.1.mlp.0.weight", "layers.0.blocks.1.mlp.fc1.weight"),
        ("features.4.17.mlp.3.bias", "layers.2.blocks.17.mlp.fc2.bias"),
        ("features.5.reduction.weight", "layers.3.downsample.reduction.weight"),
        ("features.1.norm.bias", "layers.1.downsample.norm.bias"),
        ("conv_rgb.0.weight", "patch_embed.rgb.proj.weight"),
        ("conv_ms.2.bias", "patch_embed.ms.norm.bias"),
        ("patch_embed_ms.proj.bias", "patch_embed.ms.proj.bias"),
        ("blocks.11.mlp.fc1.weight", "blocks.11.mlp.fc1.weight"),
        ("norm.weight", "norm.weight"),
    ],
)
def test_our_name__table(published: str, ours: str) -> None:
    assert convert.our_name(published) == ours


@pytest.mark.parametrize("name", MICRO)
def test_to_deo__each_missing_tensor_is_an_error(name: str, published_layout) -> None:
    expected = shapes(SPECS[name])
    ours = {n: torch.empty(shape, device="meta") for n, shape in expected.items()}
    for gone in ours:
        rest = {n: t for n, t in ours.items() if n != gone}
        with pytest.raises(WeightsError, match=rf"1 missing \({re.escape(gone)}\)"):
            convert.to_deo(rest, expected, model=name)


@pytest.mark.parametrize("extra", ["features.0.9.attn.qkv.weight", "decoder.weight", "head.weight"])
def test_to_deo__an_extra_tensor_is_an_error(extra: str, published_layout) -> None:
    state = published_layout(micro("test_deo_swin")) | {extra: torch.zeros(3)}
    with pytest.raises(WeightsError, match=rf"1 not part of the model \({re.escape(extra)}\)"):
        convert.to_deo(state, shapes(SPECS["test_deo_swin"]), model="test_deo_swin")


def test_to_deo__another_window_is_an_error(shared: Path) -> None:
    described = json.loads((shared / "golden/backbones/keys_swin_b_w12.json").read_text())
    window7 = {
        name: ([169, shape[1]] if name.endswith("bias_table") else shape, dtype)
        for name, (shape, dtype) in described["student"].items()
    }
    with pytest.raises(WeightsError, match=r"24 of another shape .* is 169x4, wanted 529x4"):
        convert.to_deo(meta(window7), shapes(SPECS["deo_swin_b"]), model="deo_swin_b")


@pytest.mark.parametrize(("held", "wanted"), [MICRO, MICRO[::-1]])
def test_to_deo__another_architecture_is_an_error(held: str, wanted: str, published_layout) -> None:
    with pytest.raises(WeightsError, match=f"do not fit {wanted}: .* missing .* not part"):
        convert.to_deo(published_layout(micro(held)), shapes(SPECS[wanted]), model=wanted)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no tensor of a backbone"),
        ({"teacher": {}}, "holds no student"),
        ({"epoch": 3, "loss": 0.1}, "2 not part of the model"),
        ({"student": {"head_ms.mlp.0.weight": torch.zeros(2)}}, "no tensor of a backbone"),
    ],
)
def test_to_deo__no_backbone_is_an_error(content: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        convert.to_deo(content, shapes(SPECS["test_deo_vit"]), model="test_deo_vit")


def test_to_deo__a_teacher_is_asked_of_a_training_checkpoint_only(published_layout) -> None:
    state = published_layout(micro("test_deo_vit"))
    with pytest.raises(WeightsError, match="holds no teacher"):
        convert.to_deo(state, shapes(SPECS["test_deo_vit"]), model="test_deo_vit", teacher=True)


def test_to_deo__two_tensors_of_one_name_are_an_error() -> None:
    ours = micro("test_deo_vit")
    doubled = ours | {"module.norm.weight": ours["norm.weight"] + 1}
    with pytest.raises(WeightsError, match=r"norm\.weight twice"):
        convert.to_deo(doubled, shapes(SPECS["test_deo_vit"]), model="test_deo_vit")


@pytest.mark.parametrize("value", [3.0, torch.zeros(32, dtype=torch.int64), [1.0]])
def test_to_deo__what_is_no_floating_point_tensor_is_an_error(value: object) -> None:
    state = micro("test_deo_vit") | {"norm.weight": value}
    with pytest.raises(WeightsError, match=r"1 not floating-point tensors \(norm\.weight\)"):
        convert.to_deo(state, shapes(SPECS["test_deo_vit"]), model="test_deo_vit")


def test_refuse_published__is_a_hook_that_survives_a_copy(published_layout) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(2)
            self.register_load_state_dict_pre_hook(convert.refuse_published)

    net = Net()
    net.load_state_dict(net.state_dict())
    with pytest.raises(WeightsError, match="deo convert"):
        net.load_state_dict(published_layout(net.state_dict()))
    with pytest.raises(WeightsError, match="deo convert"):
        net.load_state_dict({"student": {}, "teacher": {}})
    outer = torch.nn.ModuleDict({"backbone": net, "head_ms": torch.nn.Linear(2, 2)})
    outer.load_state_dict(outer.state_dict())
    assert pickle.dumps(convert.refuse_published)
