"""Checkpoints in the published layouts -> our parameter names: a table and a pure function.

Three layouts are understood: the flat state dict of the released files (torchvision's or DINO's
names), the checkpoint that the public training code writes (`student`, `teacher`, optimizer, ...)
and our own names. Whatever the layout, the outcome is complete or an error.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from deo.errors import WeightsError

VERSION = 1
"""Version of this mapping; converted files in the cache carry it in their name."""

Shape = tuple[int, ...]

_WRAPPERS = ("_orig_mod.", "module.", "backbone.")
_DROPPED = re.compile(
    r"(head_ms|cls_head|patch_head_mid|patch_head_late)\..*|.*\.relative_position_index"
)
_RENAMED = (
    (re.compile(r"conv_(ms|rgb)\.0\."), r"patch_embed.\1.proj."),
    (re.compile(r"conv_(ms|rgb)\.2\."), r"patch_embed.\1.norm."),
    (re.compile(r"patch_embed_(ms|rgb)\.proj\."), r"patch_embed.\1.proj."),
)
_IN_SWIN = re.compile(r"features\.(\d+)\.(.*)")
_IN_SWIN_BLOCK = (
    (re.compile(r"(\d+\.)mlp\.0\."), r"\1mlp.fc1."),
    (re.compile(r"(\d+\.)mlp\.3\."), r"\1mlp.fc2."),
)
_STEMS = ("patch_embed.ms.", "patch_embed.rgb.")
_SHOWN = 3


class Conversion(NamedTuple):
    """Tensors under our names, and what became of the rest.

    `layout` says in words what the checkpoint was; `dropped` holds the checkpoint's own names of
    projection heads and of index buffers, which the backbone has no use for.
    """

    tensors: dict[str, torch.Tensor]
    dropped: tuple[str, ...]
    layout: str


def to_deo(
    checkpoint: Mapping[str, Any],
    expected: Mapping[str, Shape],
    *,
    model: str,
    teacher: bool = False,
) -> Conversion:
    """Rename a checkpoint's tensors to ours and prove that they are a whole backbone.

    Args:
        checkpoint: a state dict, or a training checkpoint that holds two of them.
        expected: names and shapes of the backbone with both stems.
        model: the backbone's name, for messages.
        teacher: from a training checkpoint take the EMA teacher. It holds the multispectral stem
            alone; the default, the student, holds both stems and is what was published.

    Returns:
        Exactly the tensors of `expected`, or all of them but one stem when the checkpoint
        lacks that stem altogether. Values are not copied.

    Raises:
        WeightsError: a tensor is missing, superfluous or of another shape, or there is none.
    """
    flat, layout = _choose_state_dict(checkpoint, teacher=teacher)
    tensors: dict[str, torch.Tensor] = {}
    origin: dict[str, str] = {}
    dropped = []
    for name, value in flat.items():
        bare = _unwrapped(name)
        if _DROPPED.fullmatch(bare):
            dropped.append(name)
            continue
        ours = our_name(bare)
        if ours in tensors:
            raise WeightsError(
                f"the checkpoint holds {ours} twice, as {origin[ours]} and as {name}; "
                "it mixes two models, so it is not used"
            )
        origin[ours] = name
        tensors[ours] = value
    if not tensors:
        raise WeightsError(f"the checkpoint holds no tensor of a backbone; wanted {model}")
    refuse_misfits(tensors, _without_absent_stem(tensors, expected), model=model, origin=origin)
    return Conversion(tensors=tensors, dropped=tuple(dropped), layout=layout)


def our_name(name: str) -> str:
    """One published parameter name, free of wrapper prefixes, as ours; ours stay as they are."""
    for pattern, replacement in _RENAMED:
        if pattern.match(name):
            return pattern.sub(replacement, name, count=1)
    match = _IN_SWIN.fullmatch(name)
    if match is None:
        return name
    index, rest = int(match[1]), match[2]
    if index % 2:
        return f"layers.{(index + 1) // 2}.downsample.{rest}"
    for pattern, replacement in _IN_SWIN_BLOCK:
        rest = pattern.sub(replacement, rest, count=1)
    return f"layers.{index // 2}.blocks.{rest}"


def is_published(names: Iterable[str]) -> bool:
    """Whether names are those of a published or training checkpoint, which need `to_deo`."""
    bare = [_unwrapped(name) for name in names]
    return any(our_name(name) != name or _DROPPED.fullmatch(name) for name in bare) or (
        "student" in bare or "teacher" in bare
    )


def refuse_published(
    module: nn.Module, state_dict: Mapping[str, Any], prefix: str, *_: object
) -> None:
    """A `load_state_dict` pre-hook for our models: say what a published checkpoint needs.

    Raises:
        WeightsError: the names are published ones, which `load_state_dict` alone cannot match.
    """
    names = [name.removeprefix(prefix) for name in state_dict if name.startswith(prefix)]
    if is_published(names or state_dict):
        raise WeightsError(
            f"this is a published or training checkpoint, whose names {type(module).__name__} "
            "does not have. Give it as pretrained=True with "
            "pretrained_cfg_overlay=dict(file=...), not as checkpoint_path; or write it with "
            "our names first: deo convert CHECKPOINT OUT.safetensors --model NAME"
        )


def refuse_misfits(
    tensors: Mapping[str, Any],
    expected: Mapping[str, Shape],
    *,
    model: str,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Check names, shapes and kind of every tensor against what a model expects.

    Raises:
        WeightsError: says how many differ in which way and names the first few of each.
    """
    called = origin or {}
    reshaped, useless = [], []
    for name in expected.keys() & tensors.keys():
        value = tensors[name]
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            useless.append(called.get(name, name))
        elif tuple(value.shape) != tuple(expected[name]):
            reshaped.append(
                f"{called.get(name, name)} is {_shape(value.shape)}, "
                f"wanted {_shape(expected[name])}"
            )
    findings = (
        ("missing", [name for name in expected if name not in tensors]),
        ("not part of the model", [called.get(n, n) for n in tensors if n not in expected]),
        ("of another shape", reshaped),
        ("not floating-point tensors", useless),
    )
    if any(names for _, names in findings):
        told = "; ".join(
            f"{len(names)} {what} ({_few(names)})" for what, names in findings if names
        )
        raise WeightsError(
            f"these weights do not fit {model}: of {len(expected)} tensors wanted and "
            f"{len(tensors)} found, {told}. {_advice(findings)}; nothing was loaded"
        )


def _advice(findings: Iterable[tuple[str, list[str]]]) -> str:
    if all(name.startswith("norm.") for _, names in findings for name in names):
        return (
            "They were saved from a features_only model, which has no last norm: load them into "
            "one, or save a whole model"
        )
    return "Name the model the file was made for"


def _choose_state_dict(
    checkpoint: Mapping[str, Any], *, teacher: bool
) -> tuple[Mapping[str, Any], str]:
    wanted = "teacher" if teacher else "student"
    nested = {key for key in ("student", "teacher") if isinstance(checkpoint.get(key), Mapping)}
    if not nested and not teacher:
        published = is_published(checkpoint)
        return checkpoint, "published state dict" if published else "state dict with our names"
    if wanted not in nested:
        keys = ", ".join(map(repr, list(checkpoint)[:8])) or "nothing"
        raise WeightsError(f"the checkpoint holds no {wanted}; found {keys}")
    return checkpoint[wanted], f"training checkpoint, its {wanted}"


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _without_absent_stem(
    tensors: Mapping[str, Any], expected: Mapping[str, Shape]
) -> Mapping[str, Shape]:
    """What is expected less a stem of which nothing was found, provided another was found."""
    absent = tuple(stem for stem in _STEMS if not any(name.startswith(stem) for name in tensors))
    if not absent or len(absent) == len(_STEMS):
        return expected
    return {name: shape for name, shape in expected.items() if not name.startswith(absent)}


def _few(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown


def _shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
