"""Which layers of a network are called mid and late, and how wide their features are."""

from typing import Any, NamedTuple

from deo.models.swin import DeoSwin


class Layers(NamedTuple):
    """Indices of the stages (Swin, ConvNeXt) or blocks (ViT) that are called mid and late."""

    mid: int
    late: int


class Widths(NamedTuple):
    """Channels of the class feature and of the middle and late maps."""

    cls: int
    mid: int
    late: int


def widths_of(net: Any, layers: Layers) -> Widths:
    """Widths of the pooled feature and of two layers of a timm model."""
    channels = [info["num_chs"] for info in net.feature_info]
    return Widths(net.num_features, channels[layers.mid], channels[layers.late])


def is_vit(net: Any) -> bool:
    """Whether a network is a ViT: the blocks of an EfficientNet take no patches."""
    return hasattr(net, "blocks") and hasattr(net, "patch_embed")


def student_layers(net: Any) -> Layers:
    """The last two stages of a Swin; block d/2 and the last block of a ViT of depth d."""
    if isinstance(net, DeoSwin):
        return Layers(mid=len(net.layers) - 2, late=len(net.layers) - 1)
    depth = len(net.blocks)
    return Layers(mid=depth // 2 - 1, late=depth - 1)


def finer_layers(net: Any) -> Layers:
    """The two layers before the last that are nearest to it: stages 2 and 3 of a Swin of four."""
    late = student_layers(net).mid
    return Layers(mid=max(late - 1, 0), late=late)


def optical_layers(net: Any) -> Layers:
    """The published blocks of a ViT; the last two stages of a hierarchical network."""
    if is_vit(net):
        return published_layers(len(net.blocks))
    stages = len(net.feature_info)
    return Layers(mid=stages - 2, late=stages - 1)


def published_layers(depth: int) -> Layers:
    """Blocks 8 and 11 of 12, 15 and 23 of 24, and in that proportion for other depths."""
    # 12 is the exception to the formula, which would give 7: the published choice is 8
    return Layers(8, 11) if depth == 12 else Layers(2 * depth // 3 - 1, depth - 1)
