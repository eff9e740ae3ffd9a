"""Heads that join a backbone's maps with the pixels themselves, for few labels."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Standardise(nn.Module):
    """(B, C, ...) less the mean of each channel, over its standard deviation.

    Both are measured on the training samples before the first step, by `measure_standards`: unlike
    those of batch normalisation they depend on no batch, so that a step of one sample will do and a
    map is what was scored.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    def forward(self, values: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (values.ndim - 2)
        return (values - self.mean.view(shape)) / self.spread.view(shape)


@torch.no_grad()
def measure_standards(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set what the `Standardise` layers of a network take off and divide by.

    The network is left in evaluation mode.

    Args:
        batches: (B, ...) inputs of the network.
    """
    seen: dict[Standardise, list[tuple[int, Tensor, Tensor]]] = {}

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, Standardise)
        values = given[0].double().transpose(0, 1).flatten(1)
        moments = (values.shape[1], values.sum(1), (values**2).sum(1))
        seen.setdefault(layer, []).append(moments)

    layers = [layer for layer in network.modules() if isinstance(layer, Standardise)]
    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    network.eval()
    for images in batches if layers else ():
        network(images)
    for handle in handles:
        handle.remove()
    for layer, moments in seen.items():
        count = sum(part[0] for part in moments)
        mean = torch.stack([part[1] for part in moments]).sum(0) / count
        squares = torch.stack([part[2] for part in moments]).sum(0) / count
        spread = (squares - mean**2).clamp(min=0).sqrt()
        layer.mean.copy_(mean)
        layer.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))


class MapFusion(nn.Module):
    """Maps of a backbone and the pixels themselves -> (B, classes, H, W) scores.

    Every map is standardised and brought to `width` channels by a linear layer, from the coarsest
    on enlarged to the size of the next finer one, and added to it; the finest are the pixels. Two
    convolutions follow. What is a matter of a pixel's own spectrum, such as water, is blurred by
    maps of stride 4 and coarser, so that a head that sees maps alone falls behind a logistic
    regression on the bands (see docs/evaluation.md). The linear layers of the maps begin at 0: the
    head begins as a network of pixels and adds their surroundings as far as these help. Coarse maps
    tell one training image from another, and few labels are learned by heart that way.

    Args:
        channels, reductions: of the maps.
        pixels: channels of the input.
        classes: of the result.
        width: channels inside.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        *,
        pixels: int,
        classes: int,
        width: int = 32,
    ) -> None:
        super().__init__()
        linear = [nn.Conv2d(count, width, 1) for count in (pixels, *channels)]
        for layer in linear[1:]:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        self.lateral = nn.ModuleList(
            nn.Sequential(Standardise(layer.in_channels), layer) for layer in linear
        )
        self.fuse = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
        levels = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        total = levels.pop()
        while levels:
            finer = levels.pop()
            total = finer + F.interpolate(
                total, size=finer.shape[-2:], mode="bilinear", align_corners=False
            )
        scores: Tensor = self.fuse(total)
        return scores


class TileFusion(nn.Module):
    """Means of all maps, and mean and spread of each band -> (B, classes, 1, 1) scores.

    All are standardised; one linear layer reads them. With a frozen backbone this is a logistic
    regression on frozen features and band statistics.

    Args:
        channels, reductions: of the maps.
        pixels: channels of the input.
        classes: of the result.
        width: of no meaning, as a linear layer has no inside.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        *,
        pixels: int,
        classes: int,
        width: int = 0,
    ) -> None:
        super().__init__()
        count = 2 * pixels + sum(channels)
        self.standardise = Standardise(count)
        self.score = nn.Linear(count, classes)

    def forward(self, maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
        spread = maps[0].std((2, 3), correction=0)
        pooled = torch.cat([spread, *(one.mean((2, 3)) for one in maps)], 1)
        scores: Tensor = self.score(self.standardise(pooled))
        return scores[:, :, None, None]
