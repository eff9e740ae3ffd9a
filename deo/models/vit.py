"""ViT with DINO's positional interpolation, on timm's class."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from deo.models.stems import DualPatchEmbed, stem_widths


class DeoViT(VisionTransformer):
    """timm's VisionTransformer with stems per sensor and DINO's positional interpolation.

    Args:
        in_chans: None builds both stems; see `deo.models.stems.stem_widths`.
        bands: names for a multispectral stem of other bands than the ten.
        fc_norm: the published final norm stands before pooling, whatever the pooling.
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
            embed_layer=partial(DualPatchEmbed, widths=widths),
            dynamic_img_size=True,
            fc_norm=fc_norm,
            **kwargs,
        )
