"""Targets of direct distillation: from whole, clean samples, at the place of a view."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS
from deo.training.method.clean import (
    CELL_STATISTICS,
    VIEW_STATISTICS,
    CleanMaps,
    CleanTeacher,
    cell_statistics,
    standardised,
    targets_of,
)
from deo.training.method.config import Direct
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalFeatures

SIDE = 32
WHOLE = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])


class Pixels:
    """An optical teacher that answers with what it sees, and counts how often it is asked."""

    widths = Widths(3, 3, 3)
    licence = "none"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Tensor) -> OpticalFeatures:
        self.asked += len(images)
        return OpticalFeatures(images.mean((2, 3)), images, F.avg_pool2d(images, 2))


def images(count: int = 2) -> Tensor:
    return 3000 * torch.rand(count, 10, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_clean_teacher__sees_whole_samples_under_one_maximum_enlarged() -> None:
    maps = CleanTeacher(Pixels(), Direct(maximum=2000.0))(images(), torch.arange(2))
    assert maps.mid.shape == (2, 3, 2 * SIDE, 2 * SIDE)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (AERIAL_MEAN, AERIAL_STD))
    seen = maps.mid * std + mean
    want = F.interpolate((images()[:, :3] / 2000).clamp(0, 1), scale_factor=2, mode="bicubic")
    torch.testing.assert_close(seen, want.clamp(0, 1), atol=1e-5, rtol=0)


def test_clean_teacher__keeps_the_maps_of_a_sample_whatever_its_batch() -> None:
    kept, fresh = Pixels(), Pixels()
    keeping = CleanTeacher(kept, Direct(maximum=3000.0, keep=True))
    first = keeping(images(), torch.tensor([5, 7]))
    again = keeping(images().flip(0), torch.tensor([7, 5]))
    assert kept.asked == 2
    assert torch.equal(again.mid.flip(0), first.mid)
    anew = CleanTeacher(fresh, Direct(maximum=3000.0))(images(), torch.tensor([5, 7]))
    torch.testing.assert_close(first.late, anew.late, atol=2e-3, rtol=0)


def test_cell_statistics__are_those_of_the_cell() -> None:
    pixels = images(1)
    got = cell_statistics(pixels)
    assert got.shape == (1, CELL_STATISTICS, SIDE // 4, SIDE // 4)
    cell = pixels[0, :, 4:8, 8:12]
    band = {name: cell[i] for i, name in enumerate(MODEL_BANDS)}
    here = got[0, :, 1, 2]
    torch.testing.assert_close(here[:10], torch.log1p(cell).mean((1, 2)))
    ndvi = (band["B08"] - band["B04"]) / (band["B08"] + band["B04"] + 1)
    water = (band["B03"] - band["B11"]) / (band["B03"] + band["B11"] + 1)
    built = (band["B11"] - band["B08"]) / (band["B11"] + band["B08"] + 1)
    torch.testing.assert_close(here[10:13], torch.stack([ndvi, water, built]).mean((1, 2)))
    smooth = cell_statistics(torch.full_like(pixels, 500.0))
    assert (smooth[:, 13:] < got[:, 13:]).all(), "gradients of smooth ground are smaller"


def positions(count: int = 1) -> CleanMaps:
    """Maps that hold their own rows and columns, counted from -1 to 1."""
    at = (torch.arange(16) + 0.5) / 8 - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="ij"))
    return CleanMaps(*(grid.repeat(count, 1, 1, 1),) * 3)


def test_targets_of__are_taken_where_a_view_lies() -> None:
    # the upper right quarter, mirrored in columns
    place = torch.tensor([[[-0.5, 0, 0.5], [0, 0.5, -0.5]]])
    target = targets_of(positions(), [place], grids=(4, 2, 4))
    want = standardised(
        torch.stack(
            torch.meshgrid(
                torch.tensor([-0.875, -0.625, -0.375, -0.125]),
                torch.tensor([0.875, 0.625, 0.375, 0.125]),
                indexing="ij",
            )
        )[None]
    )
    torch.testing.assert_close(target.mid, want)
    assert (target.late.shape, target.cells.shape) == ((1, 2, 2, 2), (1, 2, 4, 4))


def test_targets_of__stand_view_by_view_and_are_standardised() -> None:
    maps = CleanMaps(*(torch.randn(6, c, 8, 8) for c in (3, 5, CELL_STATISTICS)))
    right = torch.tensor([[0.5, 0, 0.5], [0, 1.0, 0]])
    places = [x.expand(6, 2, 3) for x in (WHOLE, right)]
    target = targets_of(maps, places, grids=(8, 8, 8))
    assert (target.cls.shape, target.statistics.shape) == ((12, 8), (12, VIEW_STATISTICS))
    assert target.cls.mean(0).abs().max() < 1e-5
    alone = targets_of(maps, places[:1], grids=(8, 8, 8))
    torch.testing.assert_close(
        np.corrcoef(target.mid[:6].flatten(), alone.mid.flatten())[0, 1], 1.0, atol=1e-2, rtol=0
    )


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 4, 4)])
def test_standardised__every_channel_by_itself(shape: tuple[int, ...]) -> None:
    x = 5 + torch.tensor([1.0, 10.0, 0.0]).view(3, *(1,) * (len(shape) - 2)) * torch.randn(shape)
    flat = standardised(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(1, correction=0)[:2], torch.ones(2), atol=1e-2, rtol=0)
    assert flat[2].abs().max() < 1e-2, "a channel without variance is not blown up"
