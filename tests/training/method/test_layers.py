"""Mid and late layers of students and optical teachers."""

import pytest
import timm

from deo.training.method.layers import (
    Layers,
    Widths,
    finer_layers,
    is_vit,
    optical_layers,
    published_layers,
    student_layers,
    widths_of,
)


def test_published_layers() -> None:
    assert [published_layers(depth) for depth in (12, 24)] == [(8, 11), (15, 23)]


def test_student_layers__stages_of_a_swin_and_blocks_of_a_vit() -> None:
    swin, vit = (timm.create_model(f"test_deo_{kind}", in_chans=3) for kind in ("swin", "vit"))
    stages, depth = len(swin.layers), len(vit.blocks)
    assert student_layers(swin) == Layers(mid=stages - 2, late=stages - 1)
    assert student_layers(vit) == Layers(mid=depth // 2 - 1, late=depth - 1)


def test_optical_layers__of_a_hierarchical_network_are_its_last_stages() -> None:
    net = timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    assert optical_layers(net) == Layers(mid=2, late=3)
    assert widths_of(net, optical_layers(net)) == Widths(cls=32, mid=24, late=32)


@pytest.mark.parametrize("depth", [4, 6, 32])
def test_optical_layers__of_a_vit_are_the_published_proportion(depth: int) -> None:
    net = timm.create_model("vit_tiny_patch16_224", depth=depth, embed_dim=12, num_heads=1)
    assert optical_layers(net) == published_layers(depth)
    assert optical_layers(net).late == depth - 1


@pytest.mark.parametrize(
    ("name", "vit"), [("efficientnet_lite0", False), ("vit_tiny_patch16_224", True)]
)
def test_is_vit__of_two_networks_that_have_blocks(name: str, vit: bool) -> None:
    net = timm.create_model(name)
    assert hasattr(net, "blocks")
    assert is_vit(net) == vit


def test_finer_layers__come_before_the_last() -> None:
    swin, vit = (timm.create_model(f"test_deo_{kind}", in_chans=3) for kind in ("swin", "vit"))
    assert finer_layers(swin) == Layers(mid=1, late=2)
    assert finer_layers(vit) == Layers(mid=0, late=1)
