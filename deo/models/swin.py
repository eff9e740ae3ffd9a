"""Swin with the published window arithmetic, on timm's class."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import Tensor

from deo.models.stems import DualPatchEmbed, stem_widths


class DeoSwinBlock(SwinTransformerBlock):
    pass


class DeoSwin(SwinTransformer):
    """timm's SwinTransformer with stems per sensor and torchvision's windows at every size.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        kwargs: as in timm.
    """

    def __init__(
        self,
        *,
        in_chans: int | None = None,
        bands: Sequence[str] | None = None,
        always_partition: bool = True,
        strict_img_size: bool = False,
        **kwargs: Any,
    ) -> None:
        widths = stem_widths(in_chans, bands)
        super().__init__(
            in_chans=sum(widths.values()),
            embed_layer=partial(DualPatchEmbed, widths=widths),
            always_partition=True,
            strict_img_size=False,
            **kwargs,
        )
