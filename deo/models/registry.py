"""The backbones by name: one frozen spec each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from deo.errors import ModelError, nearest
from deo.models.stems import DUAL
from deo.models.swin import DeoSwin
from deo.models.vit import DeoViT


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where public weights lie on the Hugging Face Hub.

    Args:
        repo: repository.
        revision: pinned commit, or None for the newest.
        filename: the file, or None when only `pattern` is known.
        pattern: part of the name of the one file meant, any case.
    """

    repo: str
    revision: str | None = None
    filename: str | None = None
    pattern: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Spec:
    """One backbone.

    Args:
        name: what timm knows it by.
        build: `DeoSwin` or `DeoViT`.
        args: what `build` is given.
        out_indices: layers whose maps `features_only` returns.
        img_size: nominal input side, in pixels.
        published: public weights, if any.
        asset: weights inside this package, a file name in `deo.assets`.
        licence: of the weights.
    """

    name: str
    build: type[nn.Module]
    args: Mapping[str, Any]
    out_indices: tuple[int, ...]
    img_size: int | tuple[int, int] = 224
    published: Published | None = None
    asset: str | None = None
    licence: str = "mit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", MappingProxyType(dict(self.args)))

    @property
    def tag(self) -> str:
        """timm's pretrained tag: what the weights were trained on, empty where there are none."""
        if self.asset:
            return "s2"
        return "fmow" if self.published else ""

    @property
    def embedded(self) -> str | None:
        """How a timm configuration names weights inside this package."""
        return f"deo.assets/{self.asset}" if self.asset else None

    @property
    def stems(self) -> Mapping[str, int]:
        """Width of each stem of the model as built by default."""
        return DUAL

    @property
    def source(self) -> str:
        """Where its weights come from, in words."""
        if self.asset:
            return "embedded"
        return f"hub:{self.published.repo}" if self.published else "none public"

    @property
    def patch_size(self) -> int:
        return int(self.args["patch_size"])

    @property
    def window_size(self) -> int | None:
        """Side of the attention window in patches; None: attention is global."""
        return self.args.get("window_size")


def _swin(
    name: str, dim: int, depths: Sequence[int], heads: Sequence[int], window: int, **spec: Any
) -> Spec:
    args = {
        "patch_size": 4,
        "window_size": window,
        "embed_dim": dim,
        "depths": tuple(depths),
        "num_heads": tuple(heads),
    }
    return Spec(name=name, build=DeoSwin, args=args, out_indices=(0, 1, 2, 3), **spec)


def _vit(name: str, dim: int, depth: int, heads: int, patch: int, **spec: Any) -> Spec:
    args = {"patch_size": patch, "embed_dim": dim, "depth": depth, "num_heads": heads}
    quarter = depth // 4
    taken = tuple(range(quarter - 1, depth, quarter))
    # the authors take 3, 5, 8, 11 of twelve blocks
    out_indices = (3, 5, 8, 11) if depth == 12 else taken
    return Spec(name=name, build=DeoViT, args=args, out_indices=out_indices, **spec)


_HUB = "SolaireTheSun/DEO"
_REVISION = "f973d29f6324fb12fca734778cf9d2ae539524bb"

SPECS: Mapping[str, Spec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            _swin("deo_swin_t", 96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
            _swin("deo_swin_s", 96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
            _swin(
                "deo_swin_b",
                128,
                (2, 2, 18, 2),
                (4, 8, 16, 32),
                12,
                published=Published(repo=_HUB, revision=_REVISION, filename="DEO_swin_b.pth"),
            ),
            _swin("deo_swin_l", 192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
            _swin("deo_swin_n", 24, (2, 2, 2, 2), (1, 2, 4, 8), 7, asset="deo_swin_n.safetensors"),
            _vit("deo_vit_s", 384, 12, 6, 16),
            _vit(
                "deo_vit_b",
                768,
                12,
                12,
                8,
                published=Published(repo=_HUB, revision=_REVISION, pattern="vit"),
            ),
            _vit("deo_vit_l", 1024, 24, 16, 16),
            _swin("test_deo_swin", 16, (2, 2, 2, 2), (1, 2, 4, 8), 4, img_size=64),
            _vit("test_deo_vit", 32, 4, 2, 16, img_size=64),
        )
    }
)
"""Every backbone by name, the two micro ones for tests included."""


def is_ours(name: str) -> bool:
    """Whether a name, with or without a pretrained tag, is that of a backbone of deo."""
    return name.split(".")[0] in SPECS


def spec_of(name: str) -> Spec:
    """The spec of a backbone, with or without a pretrained tag in its name.

    Raises:
        ModelError: there is no such backbone; the message lists the known ones.
    """
    spec = SPECS.get(name.split(".")[0])
    if spec is None:
        near = nearest(name, SPECS)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"unknown model {name!r}; known are {', '.join(SPECS)}{hint}")
    return spec


@lru_cache(maxsize=32)
def shapes(spec: Spec) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every tensor of a backbone with both stems and no head."""
    with torch.device("meta"):
        model = spec.build(**spec.args, img_size=spec.img_size, num_classes=0, weight_init="skip")
    return MappingProxyType({name: tuple(t.shape) for name, t in model.state_dict().items()})


def parameters(spec: Spec) -> int:
    """How many numbers a backbone with both stems learns."""
    return sum(math.prod(shape) for shape in shapes(spec).values())
