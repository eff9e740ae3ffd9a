"""Optical teachers: frozen networks that see red, green and blue, behind one protocol.

Any timm model serves, and any `deo_*` backbone with weights from `deo export`. Real weights come
through timm and the Hub, each under its own licence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.bands import AERIAL_MEAN, AERIAL_STD, RGB_BANDS
from deo.errors import ConfigError
from deo.models.registry import SPECS
from deo.models.weights import load_backbone
from deo.training import config
from deo.training.tasks.backbones import is_ours


class Widths(NamedTuple):
    """Widths of class, middle and late features."""

    cls: int
    mid: int
    late: int


class Features(NamedTuple):
    """Class feature (n, width) and the maps (m, width, h, w) of a middle and a late layer."""

    cls: Tensor
    mid: Tensor
    late: Tensor


class Teacher(Protocol):
    """What the train step asks of an optical teacher.

    Args:
        widths: of its features.
        licence: under which its weights may be used, and which its students must name.
    """

    @property
    def widths(self) -> Widths: ...

    @property
    def licence(self) -> str: ...

    def __call__(self, images: Tensor, /) -> Features:
        """Features of (n, 3, s, s), z-scored with the aerial statistics; no gradients."""
        ...


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A teacher by a short name.

    Args:
        model: timm's name with the pretrained tag.
        layers: blocks (ViT) or stages (ConvNeXt, Swin) called mid and late; None: the published
            choice for this depth.
    """

    model: str
    layers: tuple[int, int] | None = None


def _family(names: Mapping[str, str]) -> dict[str, TeacherSpec]:
    return {name: TeacherSpec(model=model) for name, model in names.items()}


TEACHERS: Mapping[str, TeacherSpec] = MappingProxyType(
    _family(
        {
            f"dinov3_{size}": f"vit_{size}_patch16_dinov3.lvd1689m"
            for size in ("small", "small_plus", "base", "large", "huge_plus", "7b")
        }
    )
    | _family(
        {f"dinov3_sat_{size}": f"vit_{size}_patch16_dinov3.sat493m" for size in ("large", "7b")}
    )
    | _family(
        {
            f"dinov3_convnext_{size}": f"convnext_{size}.dinov3_lvd1689m"
            for size in ("tiny", "small", "base", "large")
        }
    )
    | _family(
        {
            f"dinov2{short}_{size}": f"vit_{size}_patch14{long}_dinov2.lvd142m"
            for size in ("small", "base", "large", "giant")
            for short, long in (("", ""), ("_reg", "_reg4"))
        }
    )
    | _family(
        {
            f"cradio_v3_{size}": f"vit_{size}_patch16_radio_v3.c_radio"
            for size in ("base", "large", "huge", "giant")
        }
    )
    | _family(
        {f"cradio_v4_{size}": f"vit_{size}_patch16_radio_v4.c_radio" for size in ("huge", "so400m")}
    )
    | _family({"pe_spatial_base": "vit_pe_spatial_base_patch16_512.fb"})
    | _family(
        {
            "siglip2_base": "vit_base_patch16_siglip_224.v2_webli",
            "siglip2_large": "vit_large_patch16_siglip_256.v2_webli",
            "siglip2_so400m": "vit_so400m_patch16_siglip_256.v2_webli",
        }
    )
)
"""Short names; `optical.name` takes any other timm name as well."""

LICENCES = MappingProxyType(
    {
        "dinov3-license": "DINOv3 License (acknowledge; its terms pass on to derived models)",
        "nvidia-open-model-license": "NVIDIA Open Model License",
        "apache-2.0": "Apache-2.0",
        "mit": "MIT",
    }
)


def published_layers(depth: int) -> tuple[int, int]:
    """Mid and late block of a ViT: 8 and 11 of 12, 15 and 23 of 24, and in that proportion."""
    return (8, 11) if depth == 12 else (2 * depth // 3 - 1, depth - 1)


class FrozenTeacher(nn.Module):
    """A frozen network as a `Teacher`: in eval for ever, on its own input statistics.

    ViT layers are read after the final norm; of a hierarchical network the last layer is. Images
    whose side is no multiple of a ViT's patch are resized to the nearest one; nothing else is.

    Args:
        net: a timm model built with `num_classes=0`.
        layers: what is called mid and late.
        mean, std: what the network wants its 0..1 input normalised with; None: the views' own.
        licence: of its weights.
        summary: which prefix token is the class feature, where there are any.
        width, grid: see `deo.training.config.Optical`.
        dtype: of weights and arithmetic; features are returned in fp32.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        layers: tuple[int, int],
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        licence: str,
        summary: int = 0,
        width: int | None = None,
        grid: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.net = cast(Any, net.to(dtype))
        self.layers, self.grid, self.dtype, self.licence = layers, grid, dtype, licence
        self.prefix: int = getattr(net, "num_prefix_tokens", 0)
        if summary and summary >= self.prefix:
            raise ConfigError(f"optical.summary is {summary}; the model has {self.prefix} of them")
        self.summary = summary
        given_mean, given_std = torch.tensor(AERIAL_MEAN), torch.tensor(AERIAL_STD)
        own_mean = given_mean if mean is None else torch.tensor(mean)
        own_std = given_std if std is None else torch.tensor(std)
        self.register_buffer("scale", (given_std / own_std).view(3, 1, 1))
        self.register_buffer("shift", ((given_mean - own_mean) / own_std).view(3, 1, 1))
        self.widths = self._own_widths()
        self.projected = width is not None
        if width is not None:
            for name, source in self.widths._asdict().items():
                self.register_buffer(f"to_{name}", _orthogonal(source, width))
            self.widths = Widths(width, width, width)
        self.requires_grad_(False)
        self.eval()

    def _own_widths(self) -> Widths:
        channels = [info["num_chs"] for info in self.net.feature_info]
        mid, late = self.layers
        return Widths(self.net.num_features, channels[mid], channels[late])

    def train(self, mode: bool = True) -> "FrozenTeacher":
        """Stay in eval, whatever is asked."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Features of (n, 3, s, s), z-scored with the aerial statistics."""
        x = self._fitted(images * self.get_buffer("scale") + self.get_buffer("shift")).to(
            self.dtype
        )
        final, maps = self.net.forward_intermediates(x, indices=sorted(self.layers), norm=True)
        by_layer = dict(zip(sorted(self.layers), maps, strict=True))
        mid, late = (by_layer[layer] for layer in self.layers)
        if self.prefix:
            cls = final[:, self.summary]
        else:
            cls = self.net.forward_head(final, pre_logits=True)
        if norm := getattr(getattr(self.net, "head", None), "norm", None):  # ConvNeXt's final norm
            late = norm(late)
        return self._projected(Features(cls.float(), mid.float(), late.float()))

    def _fitted(self, images: Tensor) -> Tensor:
        """Images whose sides are whole patches."""
        if not hasattr(self.net, "blocks"):
            return images
        patch = self.net.patch_embed.patch_size
        sides = zip(images.shape[2:], patch, strict=True)
        size = [max(1, round(side / unit)) * unit for side, unit in sides]
        if tuple(size) == tuple(images.shape[2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)

    def _projected(self, features: Features) -> Features:
        cls, mid, late = features
        if self.projected:
            cls = cls @ self.get_buffer("to_cls")
            mid = torch.einsum("nchw,cd->ndhw", mid, self.get_buffer("to_mid"))
            late = torch.einsum("nchw,cd->ndhw", late, self.get_buffer("to_late"))
        if self.grid is not None:
            mid, late = (_to_grid(x, self.grid) for x in (mid, late))
        return Features(cls, mid, late)


def _to_grid(x: Tensor, grid: int) -> Tensor:
    smaller = grid < x.shape[-1]
    return F.interpolate(x, (grid, grid), mode="bilinear", align_corners=False, antialias=smaller)


def _orthogonal(source: int, width: int) -> Tensor:
    """(source, width) with orthonormal columns or rows: it keeps cosines, exactly if wider.

    Drawn from a fixed seed, so that every process and every resumed run has the same.
    """
    generator = torch.Generator().manual_seed(source * 100_003 + width)
    drawn = torch.randn(max(source, width), min(source, width), generator=generator)
    basis: Tensor = torch.linalg.qr(drawn).Q
    return basis if source >= width else basis.T


def build_teacher(
    optical: config.Optical, *, device: torch.device, view_statistics: bool = False
) -> FrozenTeacher | None:
    """The optical teacher of a configuration on its device, or None for `none`.

    Args:
        view_statistics: feed it the views as the student sees them, as the published code.

    Raises:
        ConfigError: the name is neither in the table nor known to timm, or `optical.weights` is
            given for a teacher that is not a backbone of deo.
        WeightsError: the weights of a `deo_*` teacher do not load.
    """
    if optical.weights is not None and not is_ours(optical.name):
        raise ConfigError(
            f"optical.weights is {optical.weights!r} and optical.name {optical.name!r}; files are "
            f"for backbones of deo ({', '.join(SPECS)}), leave it out for others"
        )
    if optical.name == "none":
        return None
    if is_ours(optical.name):
        teacher = _deo_teacher(optical, dtype=_dtype(optical.precision, device))
    else:
        teacher = _timm_teacher(
            optical,
            dtype=_dtype(optical.precision, device),
            view_statistics=view_statistics,
        )
    return teacher.to(device)


def licence_of(optical: config.Optical) -> str | None:
    """Licence of a teacher's weights, for the model card; None without a teacher."""
    if optical.name == "none":
        return None
    if is_ours(optical.name):
        return "that of the deo weights used"
    name = _spec(optical.name).model
    stated = getattr(timm.get_pretrained_cfg(name), "license", None)
    return LICENCES.get(stated, stated) if stated else "not stated by timm"


def _spec(name: str) -> TeacherSpec:
    spec = TEACHERS.get(name, TeacherSpec(model=name))
    if not timm.is_model(spec.model):
        if name in TEACHERS:
            raise ConfigError(
                f"optical.name {name!r} is timm's {spec.model}, which the installed timm "
                f"{timm.__version__} does not have; install a newer one (pip install -U timm)"
            )
        raise ConfigError(
            f"unknown optical.name {name!r}; use a timm model, a deo_* backbone, none, or one of "
            f"{', '.join(TEACHERS)}"
        )
    return spec


def _timm_teacher(
    optical: config.Optical, *, dtype: torch.dtype, view_statistics: bool
) -> FrozenTeacher:
    spec = _spec(optical.name)
    any_size = {"dynamic_img_size": True} if spec.model.startswith("vit_") else {}
    net = cast(
        Any,
        timm.create_model(
            spec.model,
            pretrained=optical.pretrained,
            num_classes=0,
            **{**any_size, **optical.options},
        ),
    )
    layers = spec.layers or _layers(net)
    cfg = net.pretrained_cfg
    return FrozenTeacher(
        net,
        layers=layers,
        mean=None if view_statistics else cfg["mean"],
        std=None if view_statistics else cfg["std"],
        licence=licence_of(optical) or "",
        summary=optical.summary,
        width=optical.width,
        grid=optical.grid,
        dtype=dtype,
    )


def _deo_teacher(optical: config.Optical, *, dtype: torch.dtype) -> FrozenTeacher:
    loaded = load_backbone(
        optical.name,
        weights=None if optical.weights is None else Path(optical.weights),
        untrained=not optical.pretrained,
        bands=RGB_BANDS,
        features_only=False,
        num_classes=0,
        **optical.options,
    )
    return FrozenTeacher(
        loaded.model,
        layers=_layers(cast(Any, loaded.model)),
        mean=None,
        std=None,
        licence=licence_of(optical) or "",
        summary=optical.summary,
        width=optical.width,
        grid=optical.grid,
        dtype=dtype,
    )


def _layers(net: Any) -> tuple[int, int]:
    if hasattr(net, "blocks"):
        return published_layers(len(net.blocks))
    stages = len(net.feature_info)
    return stages - 2, stages - 1


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
