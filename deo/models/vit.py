"""ViT with DINO's positional interpolation, on timm's class."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models import register_notrace_function
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from deo.models.attention import GlobalAttention
from deo.models.stems import DualPatchEmbed, stem_widths


@register_notrace_function  # a branch on the grid's shape
def resample_positions(
    positions: Tensor, trained: tuple[int, int], wanted: tuple[int, int], prefix: int
) -> Tensor:
    """Positions for another grid, as DINO does it.

    Bicubic without antialiasing, and the kernel is told the scale (wanted + 0.1) / trained, not
    the sizes' own ratio.

    Args:
        positions: (1, prefix + rows * columns, D) for the `trained` grid.
        prefix: leading positions of tokens outside the grid.

    Returns:
        (1, prefix + rows * columns, D) for the `wanted` grid.
    """
    if tuple(trained) == tuple(wanted):
        return positions
    grid = positions[:, prefix:].unflatten(1, trained).permute(0, 3, 1, 2)
    scale = [(new + 0.1) / old for new, old in zip(wanted, trained, strict=True)]
    resized = F.interpolate(grid.float(), scale_factor=scale, mode="bicubic").to(grid.dtype)
    return torch.cat([positions[:, :prefix], resized.flatten(2).transpose(1, 2)], dim=1)


class DeoViT(VisionTransformer):
    """timm's VisionTransformer with stems per sensor and DINO's positional interpolation.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        fc_norm: the published final norm stands before pooling, whatever the pooling.
        dynamic_img_size: fixed; accepted since timm says it.
        kwargs: as in timm.
    """

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
            embed_layer=partial(DualPatchEmbed, widths=widths, bands=bands),
            dynamic_img_size=True,
            fc_norm=fc_norm,
            **kwargs,
        )
        if len(widths) > 1:
            vars(self).pop("in_chans", None)  # two stems have no one count; timm exports it
        for block in self.blocks:
            block.attn.__class__ = GlobalAttention  # an argument only in the newest timm

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Class token and positions: (B, h, w, D) -> (B, 1 + h * w, D)."""
        positions = resample_positions(
            self.pos_embed, self.patch_embed.grid_size, x.shape[1:3], self.num_prefix_tokens
        )
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x.flatten(1, 2)], dim=1)
        placed: Tensor = self.pos_drop(tokens + positions)
        return placed

    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Make positions for a new nominal size; at that size the features stay the same."""
        trained = self.patch_embed.grid_size
        self.patch_embed.set_input_size(img_size=img_size, patch_size=patch_size)
        with torch.no_grad():
            resized = resample_positions(
                self.pos_embed, trained, self.patch_embed.grid_size, self.num_prefix_tokens
            )
        self.pos_embed = nn.Parameter(resized, requires_grad=self.pos_embed.requires_grad)
