"""ViT with DINO's positional interpolation, on timm's class."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from timm.models import register_notrace_function, register_notrace_module
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from deo.models.attention import GlobalAttention
from deo.models.linear import FusedMlp
from deo.models.stems import DualPatchEmbed, stem_widths


class Patches(NamedTuple):
    """Patch tokens (B, h, w, D) and the (height, width) in pixels of the images they are from."""

    tokens: Tensor
    pixels: tuple[int, int]


@register_notrace_module
class SizedPatchEmbed(DualPatchEmbed):
    """Stems that also say the image's size, which decides whether positions are resampled."""

    def forward(self, x: Tensor) -> Patches:  # type: ignore[override]
        """Embed (B, C, H, W); errors as in `DualPatchEmbed`."""
        return Patches(super().forward(x), (x.shape[2], x.shape[3]))


def resample_positions(
    positions: Tensor,
    trained: tuple[int, int],
    wanted: tuple[int, int],
    *,
    pixels: tuple[int, int],
    prefix: int = 1,
) -> Tensor:
    """Positions for another grid, as DINO does it.

    Bicubic without antialiasing, and the kernel is told the scale (wanted + 0.1) / trained, not
    the sizes' own ratio. An image whose sides are not in the grid's proportion gets resampled
    positions even on the trained grid.

    Args:
        positions: (1, prefix + rows * columns, D) for the `trained` grid.
        trained, wanted: rows and columns of patches.
        pixels: height and width of the image.
        prefix: leading positions of tokens outside the grid.

    Returns:
        (1, prefix + rows * columns, D) for the `wanted` grid.
    """
    rows, columns = wanted
    if tuple(trained) == (rows, columns) and pixels[0] * columns == pixels[1] * rows:
        return positions
    grid = positions[:, prefix:].reshape(1, *trained, -1).permute(0, 3, 1, 2)
    # DINO adds 0.1 so that rounding cannot make the grid one patch short; the kernel samples at
    # that scale, so that leaving it out would move every position a little
    scale = [float(new + 0.1) / old for new, old in zip(wanted, trained, strict=True)]
    resized = F.interpolate(grid.float(), scale_factor=scale, mode="bicubic").to(grid.dtype)
    return torch.cat([positions[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)


cast(Any, register_notrace_function)(resample_positions)  # it branches on the image's shape


class DeoViT(VisionTransformer):
    """timm's VisionTransformer with stems per sensor and DINO's positional interpolation.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        fc_norm: the published final norm stands before pooling, whatever the pooling.
        dynamic_img_size: fixed; accepted since timm says it.
        kwargs: as in timm.
    """

    pos_embed: nn.Parameter
    cls_token: nn.Parameter

    def __init__(
        self,
        *,
        in_chans: int | None = None,
        bands: Sequence[str] | None = None,
        fc_norm: bool = False,
        dynamic_img_size: bool = True,
        **kwargs: Any,
    ) -> None:
        widths = stem_widths(in_chans, bands)
        super().__init__(
            in_chans=sum(widths.values()),
            embed_layer=partial(SizedPatchEmbed, widths=widths, bands=bands),
            dynamic_img_size=True,
            fc_norm=fc_norm,
            **kwargs,
        )
        if len(widths) > 1:
            vars(self).pop("in_chans", None)  # two stems have no one count; timm exports it
        for block in self.blocks:
            block.attn.__class__ = GlobalAttention  # an argument only in the newest timm
            block.mlp.__class__ = FusedMlp

    def _pos_embed(self, x: Patches) -> Tensor:  # type: ignore[override]
        """Class token and positions: h x w patches -> (B, 1 + h * w, D)."""
        tokens = x.tokens
        wanted = (tokens.shape[1], tokens.shape[2])
        positions = resample_positions(
            self.pos_embed, self.patch_embed.grid_size, wanted, pixels=x.pixels
        )
        first = self.cls_token.expand(tokens.shape[0], -1, -1)
        placed: Tensor = self.pos_drop(torch.cat([first, tokens.flatten(1, 2)], dim=1) + positions)
        return placed

    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Make positions for a new nominal size; the features at that size stay the same."""
        trained = self.patch_embed.grid_size
        self.patch_embed.set_input_size(img_size=img_size, patch_size=patch_size)
        self.pos_embed = nn.Parameter(
            resample_positions(
                self.pos_embed.detach(),
                trained,
                self.patch_embed.grid_size,
                pixels=self.patch_embed.img_size,
            ),
            requires_grad=self.pos_embed.requires_grad,
        )
        super().set_input_size()  # nothing left to resample; timm notes the size for exports
