"""The backbones by name: one frozen spec each, and the entry points that timm calls."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models import resolve_pretrained_cfg
from torch import Tensor, nn

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, BandSet
from deo.errors import ModelError, WeightsError
from deo.models.stems import DUAL, MS, RGB, stem_widths
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


@dataclass(frozen=True, kw_only=True)
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
    img_size: int = 224
    published: Published | None = None
    asset: str | None = None
    licence: str = "mit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", MappingProxyType(dict(self.args)))

    @property
    def tag(self) -> str:
        """timm's pretrained tag, empty where there are no weights."""
        return "fmow" if self.published or self.asset else ""

    @property
    def stems(self) -> Mapping[str, int]:
        """Width of each stem of the model as built by default."""
        return DUAL

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
    args = dict(
        patch_size=4,
        window_size=window,
        embed_dim=dim,
        depths=tuple(depths),
        num_heads=tuple(heads),
    )
    return Spec(name=name, build=DeoSwin, args=args, out_indices=(0, 1, 2, 3), **spec)


def _vit(name: str, dim: int, depth: int, heads: int, patch: int, **spec: Any) -> Spec:
    args = dict(patch_size=patch, embed_dim=dim, depth=depth, num_heads=heads)
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


def spec_of(name: str) -> Spec:
    """The spec of a backbone, with or without a pretrained tag in its name.

    Raises:
        ModelError: there is no such backbone; the message lists those there are.
    """
    spec = SPECS.get(name.split(".")[0])
    if spec is None:
        raise ModelError(f"unknown model {name!r}; known are {', '.join(SPECS)}")
    return spec


@lru_cache(maxsize=32)
def shapes(spec: Spec) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every tensor of a backbone with both stems and no head."""
    with torch.device("meta"):
        model = spec.build(**spec.args, img_size=spec.img_size, num_classes=0)
    return MappingProxyType({name: tuple(t.shape) for name, t in model.state_dict().items()})


def _cfg(spec: Spec) -> dict[str, Any]:
    published = spec.published
    source: dict[str, Any] = {}
    if published is not None:
        source = {"hf_hub_id": f"{published.repo}@{published.revision}"}
        source["hf_hub_filename"] = published.filename
    swin = spec.build is DeoSwin
    side = spec.img_size // 32
    return dict(
        **source,
        **_described(DUAL, None),
        input_size=(DUAL[MS], spec.img_size, spec.img_size),
        num_classes=0,
        pool_size=(side, side) if swin else None,
        crop_pct=1.0,
        first_conv=None,  # timm must not adapt the stems: `_fill` does
        classifier="head.fc" if swin else "head",
        license=spec.licence,
        paper_ids="arXiv:2602.19863",
    )


def _described(widths: Mapping[str, int], bands: BandSet | None) -> dict[str, Any]:
    """Statistics of the stem that was built, for `resolve_model_data_config`.

    Digital numbers for the multispectral stem, 0..1 for the red-green-blue one; zero and one
    where the bands have no names.
    """
    if MS not in widths:
        return {"mean": AERIAL_MEAN, "std": AERIAL_STD}
    if bands is None and widths[MS] != len(MODEL_BANDS):
        return {"mean": (0.0,) * widths[MS], "std": (1.0,) * widths[MS]}
    named = bands or MODEL_BANDS
    return {"mean": named.mean, "std": named.std}


def _create(spec: Spec, pretrained: bool, **kwargs: Any) -> nn.Module:
    """Build a backbone for timm and, with `pretrained`, fill every one of its tensors.

    Raises:
        ModelError: `in_chans` or `bands` cannot be had from the pretrained stems.
        WeightsError: the weights cannot be found, or do not fit.
    """
    saved = kwargs.pop("pretrained_model_args", None) or {}
    in_chans = kwargs.pop("in_chans", None)
    bands = BandSet(kwargs.pop("bands")) if kwargs.get("bands") else None
    kwargs.pop("bands", None)
    widths = stem_widths(in_chans, bands.names if bands else None)
    cfg = resolve_pretrained_cfg(
        spec.name, kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None)
    )
    if bands or cfg.input_size[0] != next(iter(widths.values())):
        size = (next(iter(widths.values())), *cfg.input_size[1:])
        cfg = dataclasses.replace(cfg, input_size=size, **_described(widths, bands))

    def construct(**args: Any) -> nn.Module:
        model = spec.build(**args)
        if pretrained:
            raise WeightsError(f"no weights for {spec.name} yet")
        return model

    args = {"img_size": spec.img_size, **spec.args, **kwargs}
    return build_model_with_cfg(
        construct,
        spec.name,
        False,
        pretrained_cfg=cfg,
        feature_cfg={"out_indices": spec.out_indices, "feature_cls": "getter"},
        in_chans=in_chans,
        bands=bands.names if bands else None,
        **args,
    )


default_cfgs = generate_default_cfgs(
    {f"{spec.name}.{spec.tag}".rstrip("."): _cfg(spec) for spec in SPECS.values()}
)


def _entry_point(spec: Spec) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(spec, pretrained, **kwargs)

    create.__name__ = spec.name
    create.__doc__ = f"{spec.name}; see `deo.models.registry.SPECS`."
    return create


for _spec in SPECS.values():
    globals()[_spec.name] = register_model(_entry_point(_spec))
