"""Swin with the published window arithmetic at every size, on timm's class."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from timm.models import register_notrace_module
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor

from deo.models import cells
from deo.models.attention import KernelChoice
from deo.models.linear import FusedMlp, linear
from deo.models.stems import DualPatchEmbed, stem_widths


@register_notrace_module  # the cells depend on the input's shape
class DeoSwinBlock(KernelChoice, SwinTransformerBlock):
    """timm's Swin block, attending as the published network does at every map size."""

    def _attn(self, x: Tensor) -> Tensor:
        """Window attention of normed tokens (B, H, W, C); `attn_drop` drops padding as one."""
        batch, height, width, _ = x.shape
        layer = self.attn
        cut = cells.layout((height, width), self.window_size, self.shift_size)
        heads, dim = layer.num_heads, layer.qkv.out_features // 3 // layer.num_heads
        # all kinds of cells share the projection, one product instead of up to nine
        tokens = [part.flatten(0, 1) for part in cells.gather(x, cut)]
        qkv = linear(layer.qkv, torch.cat(tokens) if len(tokens) > 1 else tokens[0])
        # of a whole window; the smaller cells at the border take parts of it
        full = layer._get_rel_pos_bias().to(qkv.dtype)
        full = full.view(-1, *self.window_size, *self.window_size)
        dropout = layer.attn_drop.p if self.training else 0.0
        parts = []
        shares = torch.split(qkv, [t.shape[0] for t in tokens])
        for kind, share in zip(cut.kinds, shares, strict=True):
            projected = share.view(-1, kind.tokens, 3, heads, dim)
            q, k, v = projected.permute(2, 0, 3, 1, 4)
            out = self.attend(q, k, v, cells.bias(full, kind).unsqueeze(0), dropout)
            parts.append(out.transpose(1, 2).flatten(2))
        mixed: Tensor = layer.proj_drop(linear(layer.proj, cells.scatter(parts, cut, batch)))
        return mixed


class DeoSwin(SwinTransformer):
    """timm's SwinTransformer with stems per sensor and torchvision's windows at every size.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        always_partition, strict_img_size, dynamic_img_size: fixed; accepted since timm says them.
        kwargs: as in timm.
    """

    def __init__(
        self,
        *,
        in_chans: int | None = None,
        bands: Sequence[str] | None = None,
        always_partition: bool = True,
        strict_img_size: bool = False,
        dynamic_img_size: bool = True,
        **kwargs: Any,
    ) -> None:
        widths = stem_widths(in_chans, bands)
        super().__init__(
            in_chans=sum(widths.values()),
            embed_layer=cast(Any, partial(DualPatchEmbed, widths=widths, bands=bands)),
            always_partition=True,
            strict_img_size=False,
            **kwargs,
        )
        if len(widths) > 1:
            vars(self).pop("in_chans", None)  # two stems have no one count; timm exports it
        for block in self._blocks():
            block.__class__ = DeoSwinBlock  # the stage hard-codes timm's block
            block.mlp.__class__ = FusedMlp

    def _blocks(self) -> list[SwinTransformerBlock]:
        return [module for module in self.modules() if isinstance(module, SwinTransformerBlock)]

    def set_input_size(  # type: ignore[override]  # timm's signature differs between versions
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
        window_size: int | tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        """Change the nominal input size; windows keep their size unless a new one is said.

        timm would scale the windows with the input, which is another network.
        """
        if not kwargs.get("window_ratio"):
            window_size = window_size or self._blocks()[0].window_size
        if img_size is None and patch_size is None:
            stem: Any = self.patch_embed
            img_size = stem.img_size  # timm 1.0.22 forgets the grid when told a window alone
        kwargs |= {"img_size": img_size, "patch_size": patch_size, "window_size": window_size}
        super().set_input_size(**(kwargs | {"always_partition": True}))
