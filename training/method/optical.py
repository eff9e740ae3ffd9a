"""Optical teachers: frozen networks that see red, green and blue, behind one protocol.

Not to be confused with the EMA teacher (`deo.training.method.ema`), the student's own average.
Any timm model serves, and any `deo_*` backbone with weights from `deo export`. Real weights come
through timm and the Hub or in a Python package, each under its own licence.
"""

from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.bands import AERIAL_MEAN, AERIAL_STD, RGB_BANDS
from deo.errors import ConfigError, WeightsError
from deo.models.registry import SPECS, is_ours
from deo.models.weights import load_backbone
from deo.training.method import config
from deo.training.method.layers import Layers, Widths, is_vit, optical_layers, widths_of
from deo.training.method.optical_table import WEIGHT_PACKAGES, licence_of, timm_name
from deo.training.method.packaged import load_packaged


class OpticalFeatures(NamedTuple):
    """Class feature (n, width) and the maps (m, width, h, w) of a middle and a late layer."""

    cls: Tensor
    mid: Tensor
    late: Tensor


class OpticalTeacher(Protocol):
    """What the train step asks of an optical teacher.

    Args:
        widths: of its features.
        licence: under which its weights may be used, and which its students must name.
    """

    @property
    def widths(self) -> Widths: ...

    @property
    def licence(self) -> str: ...

    def __call__(self, images: Tensor, /) -> OpticalFeatures:
        """Features of (n, 3, s, s), z-scored with the aerial statistics; no gradients."""
        ...


class FrozenOpticalTeacher(nn.Module):
    """A frozen network as an `OpticalTeacher`: always in eval mode, on its own input statistics.

    ViT layers are read after the final norm; of a hierarchical network the last layer is. Images
    whose side is no multiple of a ViT's patch are resized to the nearest one; nothing else is.

    Args:
        net: a timm model built with `num_classes=0`.
        mean, std: what the network wants its 0..1 input normalised with; None: the views' own.
        licence: of its weights.
        dtype: of weights and arithmetic; features are returned in fp32.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        licence: str,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.net = cast(Any, net.to(dtype))
        self.layers: Layers = optical_layers(net)
        self.dtype, self.licence = dtype, licence
        self.prefix: int = getattr(net, "num_prefix_tokens", 0)
        # views arrive z-scored with the aerial statistics: one affine map undoes that and applies
        # the network's own statistics
        view_mean, view_std = torch.tensor(AERIAL_MEAN), torch.tensor(AERIAL_STD)
        net_mean = view_mean if mean is None else torch.tensor(mean)
        net_std = view_std if std is None else torch.tensor(std)
        self.register_buffer("scale", (view_std / net_std).view(3, 1, 1))
        self.register_buffer("shift", ((view_mean - net_mean) / net_std).view(3, 1, 1))
        # A classifier's last convolution is made for the classes of ImageNet: pooled, it tells land
        # cover apart worse than the maps before it (5 nearest neighbours of 100 EuroSAT tiles: 44
        # to 64 % against 72 %). So they are the class feature, pooled and joined.
        self.joins: bool = hasattr(net, "conv_head")
        widths = widths_of(self.net, self.layers)
        self.widths = widths._replace(cls=widths.mid + widths.late) if self.joins else widths
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenOpticalTeacher":
        """Stay in evaluation mode even when training mode is requested."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> OpticalFeatures:
        """Features of (n, 3, s, s), z-scored with the aerial statistics."""
        x = self._fitted(images * self.get_buffer("scale") + self.get_buffer("shift")).to(
            self.dtype
        )
        final, maps = self.net.forward_intermediates(x, indices=sorted(self.layers), norm=True)
        by_layer = dict(zip(sorted(self.layers), maps, strict=True))
        mid, late = (by_layer[layer] for layer in self.layers)
        if self.joins:
            cls = torch.cat([layer.mean((2, 3)) for layer in (mid, late)], 1)
        elif self.prefix:  # of C-RADIO's several summaries the first is the class feature
            cls = final[:, 0]
        else:
            cls = self.net.forward_head(final, pre_logits=True)
        # timm's `norm=True` is for ViTs: a ConvNeXt keeps its final norm in the head
        if norm := getattr(getattr(self.net, "head", None), "norm", None):
            late = norm(late)
        return OpticalFeatures(cls.float(), mid.float(), late.float())

    def _fitted(self, images: Tensor) -> Tensor:
        """Images whose sides are whole patches."""
        if not is_vit(self.net):
            return images
        patch = self.net.patch_embed.patch_size
        sides = zip(images.shape[2:], patch, strict=True)
        size = [max(1, round(side / unit)) * unit for side, unit in sides]
        if tuple(size) == tuple(images.shape[2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def build_optical_teacher(
    optical: config.Optical, *, device: torch.device, view_statistics: bool = False
) -> FrozenOpticalTeacher | None:
    """The optical teacher of a configuration on its device, or None for `none`.

    Args:
        view_statistics: feed it the views as the student sees them, as the published code did.

    Raises:
        ConfigError: the name is neither in the table nor known to timm, or `optical.weights` is
            given for a teacher that is not a backbone of deo.
        WeightsError: the weights of a `deo_*` teacher, or those in a package, do not load.
        MissingExtraError: the weights come as a package, which is not installed.
    """
    if optical.weights is not None and not is_ours(optical.name):
        raise ConfigError(
            f"optical.weights is {optical.weights!r}, but optical.name is {optical.name!r}; files "
            f"of weights are for backbones of deo only ({', '.join(SPECS)}), leave it out"
        )
    if optical.name == "none":
        return None
    if is_ours(optical.name):
        net, mean, std = _deo_network(optical), None, None
    else:
        net = _timm_network(optical)
        wanted = cast(Any, net).pretrained_cfg
        mean, std = (None, None) if view_statistics else (wanted["mean"], wanted["std"])
    teacher = FrozenOpticalTeacher(
        net,
        mean=mean,
        std=std,
        licence=licence_of(optical) or "",
        dtype=_dtype(optical.precision, device),
    )
    return teacher.to(device)


def _timm_network(optical: config.Optical) -> nn.Module:
    name = timm_name(optical.name)
    # ViTs of timm refuse images of another size than their own unless told otherwise
    any_size = {"dynamic_img_size": True} if name.startswith("vit_") else {}
    options: dict[str, Any] = {**any_size, **optical.options}
    package = WEIGHT_PACKAGES.get(optical.name)
    if package and optical.pretrained:
        net: Any = timm.create_model(name, pretrained=False, **options)
        load_packaged(net, package)
        net.reset_classifier(0)
        return cast(nn.Module, net)
    try:
        return timm.create_model(name, pretrained=optical.pretrained, num_classes=0, **options)
    except (OSError, RuntimeError) as error:  # the Hub's and the network's errors
        if not optical.pretrained or not _is_network_fault(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"the weights of the optical teacher {optical.name} ({name}) cannot be fetched "
            f"({reason}); fetch them once where there is a network and set HF_HOME to that cache, "
            "or name another teacher, for instance a deo_* backbone with optical.weights",
            retriable=True,
        ) from error


def _is_network_fault(error: BaseException) -> bool:
    """Whether fetching failed, rather than building: by the classes of the clients that fetch."""
    kinds = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(kinds & {"httpx", "requests", "huggingface_hub"})


def fetched_with_timm(optical: config.Optical) -> bool:
    """Whether a teacher's weights are timm's, which are fetched when they are not cached."""
    return not (optical.name == "none" or is_ours(optical.name) or optical.name in WEIGHT_PACKAGES)


def _deo_network(optical: config.Optical) -> nn.Module:
    return load_backbone(
        optical.name,
        weights=None if optical.weights is None else Path(optical.weights),
        untrained=not optical.pretrained,
        bands=RGB_BANDS,
        features_only=False,
        num_classes=0,
        **optical.options,
    ).model


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32
