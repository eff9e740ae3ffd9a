"""Heads on a backbone that returns a list of maps: classes, masks, changes.

A head is given the input itself as the first and finest of the maps, and may leave it out. Every
network here has `backbone` and `head`, so that freezing and layer-wise decay go by name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.bands import MODEL_BANDS
from deo.errors import ModelError, require
from deo.models.initial import SeededDraws
from deo.training.tasks.features import channels_first
from deo.training.tasks.fusion import MapFusion, TileFusion

STRIDES = (4, 8, 16, 32)


class Decoder(nn.Module):
    """Maps of a backbone, finest first -> (B, classes, H / 4, W / 4) scores, H and W the input's.

    UPerNet's decoder as segmentation-models-pytorch has it (pyramid pooling at 1, 2, 3 and 6
    cells). Maps of a plain vision transformer, all of one stride, are resized to the strides
    4, 8, 16 and 32 first.

    Args:
        channels, reductions: of the maps.
        pixels: channels of the input, which this head does not look at.
        classes: of the result.
        width: channels inside; the authors' 512.

    Raises:
        ModelError: the backbone gives fewer than three maps.
        MissingExtraError: segmentation-models-pytorch is not installed.
    """

    def __init__(
        self,
        channels: Sequence[int],
        reductions: Sequence[int],
        *,
        pixels: int,
        classes: int,
        width: int = 512,
    ) -> None:
        super().__init__()
        if len(channels) < 3:
            raise ModelError(f"UPerNet needs maps of three stages or more, got {len(channels)}")
        upernet = require("segmentation_models_pytorch.decoders.upernet.decoder", extra="eval")
        self.flat = len(set(reductions)) < len(reductions)
        used = list(channels)[-4:]
        # smp counts from the input and stride 2 on; the decoder skips both
        self.decoder = upernet.UPerNetDecoder(
            encoder_channels=[0, 0, *used], encoder_depth=len(used) + 1, decoder_channels=width
        )
        self.score = nn.Conv2d(width, classes, 1)
        self.used = len(used)

    def forward(self, maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
        levels = list(maps)[-self.used :]
        if self.flat:
            sizes = [(max(1, shape[0] // step), max(1, shape[1] // step)) for step in STRIDES]
            levels = [
                F.interpolate(level, size=size, mode="bilinear", align_corners=False)
                for level, size in zip(levels, sizes[-self.used :], strict=True)
            ]
        nothing = levels[0].new_empty(0)
        scores: Tensor = self.score(self.decoder([nothing, nothing, *levels]))
        return scores


class LinearMap(nn.Module):
    """One linear layer per cell of the coarsest map."""

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
        self.score = nn.Conv2d(channels[-1], classes, 1)

    def forward(self, maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
        scores: Tensor = self.score(maps[-1])
        return scores


HEADS: dict[str, Callable[..., nn.Module]] = {
    "fusion": MapFusion,
    "upernet": Decoder,
    "linear": LinearMap,
}
"""Heads of networks that label pixels."""

TILE_HEADS: dict[str, Callable[..., nn.Module]] = {"fusion": TileFusion, "linear": LinearMap}
"""Heads of networks that label whole tiles."""

WIDTHS = {"fusion": 32, "upernet": 512, "linear": 1}
"""Channels inside each head if nothing else is asked for; a linear layer has no inside."""


class Network(nn.Module):
    """A backbone and a head, which give scores; `frozen` keeps the backbone as it is."""

    def __init__(self, backbone: nn.Module, head: nn.Module, *, frozen: bool) -> None:
        super().__init__()
        self.backbone, self.head, self.frozen = backbone, head, frozen
        if frozen:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "Network":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def probabilities(self, images: Tensor) -> Tensor:
        """What `forward` gives, with shares of one among the classes for scores."""
        scores: Tensor = self(images)
        return scores.softmax(1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> the input and the backbone's maps, NCHW, finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.backbone(images)
            return [images, *(channels_first(features, self.backbone) for features in maps)]


class Classifier(Network):
    """(B, C, H, W) -> (B, classes): mean of the last map, one linear layer."""

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.maps(images), images.shape[-2:])
        return scores.mean((2, 3))


class MultiLabelClassifier(Classifier):
    """A classifier whose classes do not exclude each other."""

    def probabilities(self, images: Tensor) -> Tensor:
        scores: Tensor = self(images)
        return scores.sigmoid()


class Segmenter(Network):
    """(B, C, H, W) -> (B, classes, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        scores = self.head(self.maps(images), images.shape[-2:])
        return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)


class ChangeDetector(Network):
    """(B, 2, C, H, W) -> (B, classes, H, W): one backbone for both dates, the head sees |a - b|.

    Both dates run as one batch, so that they see the same batch statistics.
    """

    def forward(self, images: Tensor) -> Tensor:
        batch, shape = len(images), images.shape[-2:]
        maps = self.maps(images.transpose(0, 1).flatten(0, 1))
        scores = self.head([(both[:batch] - both[batch:]).abs() for both in maps], shape)
        return F.interpolate(scores, size=shape, mode="bilinear", align_corners=False)


NETWORKS: dict[str, type[Network]] = {
    "classify": Classifier,
    "multilabel": MultiLabelClassifier,
    "segment": Segmenter,
    "change": ChangeDetector,
}


def build_network(
    task: str,
    backbone: nn.Module,
    *,
    bands: int = len(MODEL_BANDS),
    classes: int,
    head: str,
    width: int,
    frozen: bool = False,
    seed: int = 0,
) -> Network:
    """A network for a task on a `features_only` backbone; its head is drawn from `seed`.

    Args:
        bands: channels of the backbone's input.

    Raises:
        ModelError: there is no such head for this task.
    """
    network = NETWORKS[task]
    heads = TILE_HEADS if issubclass(network, Classifier) else HEADS
    if head not in heads:
        raise ModelError(f"no head {head!r} for {task}; choose one of {', '.join(heads)}")
    info: Any = backbone.feature_info
    with SeededDraws(seed):
        made = heads[head](
            info.channels(), info.reduction(), pixels=bands, classes=classes, width=width
        )
    return network(backbone, made, frozen=frozen)


def least_batch(network: Network) -> int:
    """Patches that the network can learn from at once.

    Batch normalisation needs two values per channel, and pyramid pooling makes one of a patch. A
    backbone sees the two dates of a pair as two.
    """
    learning: list[nn.Module] = [network.head]
    if not network.frozen and not isinstance(network, ChangeDetector):
        learning.append(network.backbone)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
    normalised = any(isinstance(module, norms) for part in learning for module in part.modules())
    return 2 if normalised else 1
