"""Frozen features: what the resize before the network does to chips and to pixels."""

import numpy as np
from torch import Tensor, nn

from deo.bands import BandSet, Pixels
from deo.contracts import fit_contract
from deo.training.tasks.features import NetworkFeatures

BANDS = BandSet(("B8A", "B11"))


class PatchMeans(nn.Module):
    """A network whose one map holds the mean of every 4 x 4 patch."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(images, 4)]


def source(size: int | None) -> NetworkFeatures:
    contract = fit_contract("s2", bands=BANDS)
    return NetworkFeatures(model=PatchMeans(), contract=contract, size=size)


def chip(side: int) -> Pixels:
    values = np.random.default_rng(0).uniform(0, 4000, (2, side, side)).astype(np.float32)
    return Pixels(values, np.ones((side, side), np.bool_))


def test_per_pixel__with_a_patch_for_every_pixel_neighbours_do_not_mix() -> None:
    pixels = chip(8)
    found = source(32).per_pixel(pixels)
    np.testing.assert_allclose(found, source(None).contract.apply(pixels), atol=1e-5)
    assert not np.allclose(source(None).per_pixel(pixels), found, atol=0.1)


def test_pooled__the_mean_of_a_chip_hardly_depends_on_the_size() -> None:
    chips = [chip(16), chip(16)]
    np.testing.assert_allclose(source(16).pooled(chips), source(48).pooled(chips), atol=0.05)
