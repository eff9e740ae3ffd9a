"""Heads that join maps and pixels, and what they standardise by."""

import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.fusion import MapFusion, Standardise, TileFusion, measure_standards
from deo.training.tasks.heads import Network, build_network


def network(task: str) -> Network:
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
    return build_network(task, backbone, classes=3, head="fusion", width=8)


def test_measure_standards__every_level_has_mean_0_and_spread_1() -> None:
    made = network("segment")
    images = 5 + 3 * torch.randn(6, 10, 64, 64, generator=torch.Generator().manual_seed(0))
    images[:, 4] = 7  # a band that is the same everywhere
    measure_standards(made, [images[:2], images[2:]])
    assert not made.training
    with torch.no_grad():
        levels = made.maps(images)
        assert isinstance(made.head, MapFusion)
        for lateral, level in zip(made.head.lateral, levels, strict=True):
            standard = lateral[0](level).transpose(0, 1).flatten(1)
            torch.testing.assert_close(
                standard.mean(1), torch.zeros(len(standard)), atol=1e-4, rtol=0
            )
            spread = standard.std(1, correction=0)
            varies = level.transpose(0, 1).flatten(1).std(1) > 1e-6
            assert torch.allclose(spread[varies], torch.ones(int(varies.sum())), atol=1e-3)
            assert (spread[~varies] == 0).all()


def test_measure_standards__is_stored_with_the_weights() -> None:
    made = network("classify")
    measure_standards(made, [torch.randn(4, 10, 64, 64)])
    state = made.head.state_dict()
    assert isinstance(made.head, TileFusion)
    assert state["standardise.mean"].abs().max() > 0
    before = made.head.standardise.mean.clone()
    made.train()(torch.randn(4, 10, 64, 64))  # no step of training moves it
    assert torch.equal(made.head.standardise.mean, before)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
def test_standardise__any_number_of_axes(shape: tuple[int, ...]) -> None:
    layer = Standardise(3)
    layer.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    layer.spread.copy_(torch.tensor([1.0, 2.0, 4.0]))
    values = torch.randn(shape)
    for channel in range(3):
        wanted = (values[:, channel] - layer.mean[channel]) / layer.spread[channel]
        torch.testing.assert_close(layer(values)[:, channel], wanted)


def test_map_fusion__sees_the_spectrum_of_each_pixel() -> None:
    made = network("segment").eval()
    images = torch.randn(1, 10, 64, 64)
    with torch.no_grad():
        maps = made.maps(images)
        still = [torch.zeros_like(one) for one in maps[1:]]
        before = made.head([images, *still], (64, 64))
        assert before.shape == (1, 3, 64, 64)
        moved_images = images.clone()
        moved_images[:, :, 20, 30] += 1
        moved = (made.head([moved_images, *still], (64, 64)) - before).abs().sum((0, 1)) > 1e-6
    rows, cols = torch.nonzero(moved, as_tuple=True)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (19, 21, 29, 31)


def test_tile_fusion__reads_means_of_all_levels_and_spread_of_the_pixels() -> None:
    made = network("classify").eval()
    images = torch.randn(2, 10, 64, 96)
    with torch.no_grad():
        levels = made.maps(images)
        pooled = [images.std((2, 3), correction=0), *(one.mean((2, 3)) for one in levels)]
        assert isinstance(made.head, TileFusion)
        wanted = made.head.score(torch.cat(pooled, 1))
        torch.testing.assert_close(made(images), wanted)
