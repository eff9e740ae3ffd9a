"""Patch embeddings by channel count: multispectral, red-green-blue, or both in one model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.layers.helpers import to_2tuple
from timm.models import register_notrace_module
from torch import Tensor, nn

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.errors import ModelError

MS = "ms"
RGB = "rgb"
DUAL = {MS: len(MODEL_BANDS), RGB: len(RGB_BANDS)}
"""Width of each stem of a model that has both."""


def stem_widths(in_chans: int | None, bands: Sequence[str] | None = None) -> dict[str, int]:
    """Which stems a model has: name to number of channels.

    Args:
        in_chans: None builds both stems, 3 the red-green-blue one, any other number a
            multispectral stem of that width.
        bands: ESA names for a multispectral stem of these bands, in this order.

    Raises:
        ModelError: `in_chans` is not positive or contradicts `bands`.
    """
    if bands is not None:
        if in_chans not in (None, len(bands)):
            raise ModelError(
                f"in_chans={in_chans} contradicts {len(bands)} bands ({','.join(bands)}); "
                "give one of them"
            )
        return {MS: len(bands)}
    if in_chans is None:
        return dict(DUAL)
    if in_chans < 1:
        raise ModelError(f"in_chans={in_chans}: a stem needs at least one channel")
    return {RGB: in_chans} if in_chans == DUAL[RGB] else {MS: in_chans}


class Stem(nn.Module):
    """One strided convolution and, for Swin, a layer norm: (B, C, H, W) -> (B, h, w, D)."""

    def __init__(
        self,
        width: int,
        patch_size: tuple[int, int],
        embed_dim: int,
        norm_layer: Callable[..., nn.Module] | None,
        bias: bool,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, embed_dim, patch_size, stride=patch_size, bias=bias, **factory)
        self.norm = norm_layer(embed_dim, **factory) if norm_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        # oneDNN's bf16 convolution of 10 channels by 16 x 16 is wrong where the processor has AMX
        # (off by 80 %, torch 2.15); the same sums as a matrix product are right there
        whole = self._as_product(x) if _is_bf16_on_cpu(x) else self.proj(x).permute(0, 2, 3, 1)
        tokens: Tensor = self.norm(whole)
        return tokens

    def _as_product(self, x: Tensor) -> Tensor:
        tall, wide = self.proj.kernel_size
        h, w = x.shape[-2] // tall, x.shape[-1] // wide
        patches = x[..., : h * tall, : w * wide].reshape(*x.shape[:2], h, tall, w, wide)
        rows = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (B, h, w, C * tall * wide)
        return nn.functional.linear(rows, self.proj.weight.flatten(1), self.proj.bias)


def _is_bf16_on_cpu(x: Tensor) -> bool:
    if x.device.type != "cpu":
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") is torch.bfloat16
    return x.dtype is torch.bfloat16


@register_notrace_module  # the choice of stem reads the input's shape
class DualPatchEmbed(nn.Module):
    """timm's `PatchEmbed` with one stem per sensor; the channel count of the input chooses.

    Pixels beyond the last whole patch are dropped, as the published networks do.

    Args:
        widths: stem name to number of channels, from `stem_widths`.
        bands: what the multispectral stem takes, None when its channels have no names.
        img_size, patch_size, embed_dim, norm_layer, bias: as in timm.
    """

    def __init__(
        self,
        *,
        widths: Mapping[str, int],
        bands: Sequence[str] | None = None,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        embed_dim: int = 768,
        norm_layer: Callable[..., nn.Module] | None = None,
        bias: bool = True,
        dynamic_img_pad: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **ignored: Any,  # in_chans, output_fmt, strict_img_size: said by `widths`, or fixed here
    ) -> None:
        super().__init__()
        if dynamic_img_pad:
            raise ModelError("dynamic_img_pad is not part of the published networks; pad the input")
        self.widths = dict(widths)
        if bands is None and self.widths.get(MS) == DUAL[MS]:
            bands = MODEL_BANDS.names
        self.bands = None if bands is None else tuple(bands)
        self.img_size: tuple[int, int] = to_2tuple(img_size)
        self.patch_size: tuple[int, int] = to_2tuple(patch_size)
        self.strict_img_size = False
        for name, width in self.widths.items():
            stem = Stem(
                width, self.patch_size, embed_dim, norm_layer, bias, device=device, dtype=dtype
            )
            self.add_module(name, stem)

    @property
    def proj(self) -> nn.Module:
        """The first stem's convolution, where timm and others look for device and kernel."""
        return self.get_submodule(f"{next(iter(self.widths))}.proj")

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches at the nominal input size."""
        return self.dynamic_feat_size(self.img_size)

    @property
    def num_patches(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Input pixels per patch."""
        return max(self.patch_size) if as_scalar else self.patch_size

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in an input of `img_size`."""
        return img_size[0] // self.patch_size[0], img_size[1] // self.patch_size[1]

    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Change the nominal input size; the stems serve every size as they are."""
        if patch_size is not None and to_2tuple(patch_size) != self.patch_size:
            raise ModelError(
                f"patch_size={patch_size}: the stems are made for {self.patch_size}; "
                "resize the input instead"
            )
        if img_size is not None:
            self.img_size = to_2tuple(img_size)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (B, C, H, W) to (B, H // patch, W // patch, D).

        Raises:
            ModelError: no stem takes C channels, or the image is smaller than a patch.
        """
        if x.ndim != 4:
            raise ModelError(f"got an input of shape {tuple(x.shape)}; wanted (B, C, H, W)")
        fitting = [name for name, width in self.widths.items() if width == x.shape[1]]
        if not fitting:
            wanted = " or ".join(f"{width} ({name} stem)" for name, width in self.widths.items())
            raise ModelError(f"got {x.shape[1]} channels; this model takes {wanted}")
        if x.shape[2] < self.patch_size[0] or x.shape[3] < self.patch_size[1]:
            raise ModelError(
                f"got an image of {x.shape[2]} x {x.shape[3]} pixels, smaller than one patch "
                f"of {self.patch_size[0]} x {self.patch_size[1]}"
            )
        tokens: Tensor = getattr(self, fitting[0])(x)
        return tokens
