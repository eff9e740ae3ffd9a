"""What the student and its EMA teacher are both made of: a trunk that sees views, and a head."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.models.registry import spec_of
from deo.models.swin import DeoSwin
from deo.training.method import config
from deo.training.method.layers import Widths, student_layers, widths_of
from deo.training.method.losses import GLOBAL_VIEWS


class Embedded(NamedTuple):
    """What a trunk makes of views: pooled (n * B, width), maps (2 * B, width, h, w) or None."""

    pooled: Tensor
    mid: Tensor | None = None
    late: Tensor | None = None


class Layered(NamedTuple):
    """What a trunk makes of images: pooled (V, width), and maps (V, width, h, w) of some layers."""

    pooled: Tensor
    maps: list[Tensor]


class Head(nn.Module):
    """Three linear layers with GELU between, then L2 normalisation, along the last dimension."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, out),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mlp(x)
        # a norm of half-precision numbers would round each cosine that the losses take
        return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


class Trunk(nn.Module):
    """A `deo_*` backbone that takes views of several sizes and names its layers.

    Args:
        model: backbone's name, options and stochastic depth.
        in_chans: None builds both stems.

    Raises:
        ModelError: the name is not that of a backbone of deo; those are listed.
    """

    def __init__(self, model: config.Model, *, in_chans: int | None) -> None:
        super().__init__()
        self.net = cast(Any, build_network(model, in_chans=in_chans, drop_path=model.drop_path))
        self.net.set_grad_checkpointing(model.checkpointing)
        self.layers = student_layers(self.net)

    @property
    def widths(self) -> Widths:
        """Of the pooled embedding and of the two named maps."""
        return widths_of(self.net, self.layers)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        if isinstance(self.net, DeoSwin):
            stages: Any = self.net.layers
            return [block for stage in stages for block in stage.blocks]
        return list(self.net.blocks)

    def forward(self, views: Sequence[Tensor], *, maps: bool = False) -> Embedded:
        """Embed views (B, C, s, s), those of equal size in one pass.

        Args:
            maps: return the named layers' outputs for the global views, before the final norm.
        """
        pooled, mid, late = [], None, None
        for first, x in _by_size(views):
            if maps and first:
                x, (mid, late) = self._with_maps(x, GLOBAL_VIEWS * views[0].shape[0])
            else:
                x = self.net.forward_features(x)
            pooled.append(self.net.forward_head(x, pre_logits=True))
        return Embedded(torch.cat(pooled), mid, late)

    def with_layers(self, images: Tensor, layers: Sequence[int]) -> Layered:
        """Embed images (V, C, s, s), with the outputs of layers, before the final norm.

        Args:
            layers: indices, in rising order; one may be named twice.
        """
        wanted = sorted(set(layers))
        final, maps = self.net.forward_intermediates(images, indices=wanted, norm=False)
        by_layer = dict(zip(wanted, maps, strict=True))
        pooled = self.net.forward_head(final, pre_logits=True)
        return Layered(pooled, [by_layer[layer] for layer in layers])

    def _with_maps(self, x: Tensor, kept: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Final features, and the two named maps of the first `kept` images."""
        wanted = sorted(self.layers)
        final, maps = self.net.forward_intermediates(x, indices=wanted, norm=False)
        by_layer = dict(zip(wanted, maps, strict=True))
        return final, (by_layer[self.layers.mid][:kept], by_layer[self.layers.late][:kept])


def build_network(
    model: config.Model, *, in_chans: int | None, drop_path: float = 0.0
) -> nn.Module:
    """The backbone of a configuration, at random: as a run trains it and as export fills it.

    Raises:
        ModelError: the name is not that of a backbone of deo; those are listed.
    """
    spec_of(model.name)
    args: dict[str, Any] = {"in_chans": in_chans, "drop_path_rate": drop_path, "num_classes": 0}
    network: nn.Module = timm.create_model(model.name, **args, **model.options)
    return network


def _by_size(views: Sequence[Tensor]) -> Iterator[tuple[bool, Tensor]]:
    """Neighbouring views of equal size, concatenated; True with the first of them."""
    for index, (_, group) in enumerate(groupby(views, key=lambda view: view.shape[-1])):
        yield index == 0, torch.cat(list(group))


def stem_channels(model: config.Model, *, both: bool) -> int | None:
    """Channels that a trunk's stem takes; None where it needs both stems."""
    if model.input == "rgb":
        return len(RGB_BANDS)
    return None if both else len(MODEL_BANDS)
