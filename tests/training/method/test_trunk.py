"""The trunk and the head that student and EMA teacher share."""

import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.training.method.config import Model
from deo.training.method.trunk import Head, Trunk, stem_channels


@pytest.mark.parametrize("name", ["test_deo_swin", "test_deo_vit"])
def test_trunk__maps_are_of_the_global_views_alone(name: str) -> None:
    torch.manual_seed(0)
    trunk = Trunk(Model(name=name), in_chans=len(MODEL_BANDS)).eval()
    views = [torch.randn(3, 10, size, size) for size in (64, 64, 64, 32)]
    with_maps, without = trunk(views, maps=True), trunk(views)
    assert with_maps.pooled.shape == (12, trunk.widths.cls)
    assert with_maps.mid.shape[:2] == (6, trunk.widths.mid)
    assert with_maps.late.shape[:2] == (6, trunk.widths.late)
    assert without.mid is without.late is None
    torch.testing.assert_close(without.pooled, with_maps.pooled)


@pytest.mark.parametrize("name", ["test_deo_swin", "test_deo_vit"])
def test_trunk__lists_every_block(name: str) -> None:
    trunk = Trunk(Model(name=name), in_chans=3)
    swin = name == "test_deo_swin"
    depth = sum(len(stage.blocks) for stage in trunk.net.layers) if swin else len(trunk.net.blocks)
    assert len(trunk.blocks) == depth


def test_head__is_normalised_in_fp32() -> None:
    head = Head(8, 16, 4).to(torch.bfloat16)
    z = head(torch.randn(5, 8, dtype=torch.bfloat16))
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(5))


def test_stem_channels__by_input_and_teacher() -> None:
    rgb, ms = Model(input="rgb"), Model(input="ms")
    assert [stem_channels(rgb, both=both) for both in (False, True)] == [3, 3]
    assert [stem_channels(ms, both=both) for both in (False, True)] == [10, None]
