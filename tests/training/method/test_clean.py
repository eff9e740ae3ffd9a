"""Targets of direct distillation: from whole, clean samples, at the place of a view."""

import numpy as np
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
    raw_targets,
    views_at,
)
from deo.training.method.config import Direct
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalFeatures

SIDE = 32
CPU = torch.device("cpu")


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
    maps = CleanTeacher(Pixels(), Direct(maximum=2000.0), device=CPU)(images(), torch.arange(2))
    assert maps.mid.shape == (2, 3, 2 * SIDE, 2 * SIDE)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (AERIAL_MEAN, AERIAL_STD))
    seen = maps.mid * std + mean
    want = F.interpolate((images()[:, :3] / 2000).clamp(0, 1), scale_factor=2, mode="bicubic")
    torch.testing.assert_close(seen, want.clamp(0, 1), atol=1e-5, rtol=0)


def test_clean_teacher__keeps_the_maps_of_a_sample_whatever_its_batch() -> None:
    kept, fresh = Pixels(), Pixels()
    keeping = CleanTeacher(kept, Direct(maximum=3000.0, keep=True), device=CPU)
    first = keeping(images(), torch.tensor([5, 7]))
    again = keeping(images().flip(0), torch.tensor([7, 5]))
    assert kept.asked == 2
    assert torch.equal(again.mid.flip(0), first.mid)
    anew = CleanTeacher(fresh, Direct(maximum=3000.0), device=CPU)(images(), torch.tensor([5, 7]))
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


def test_views_at__take_the_part_where_a_view_lies() -> None:
    # the upper right quarter, mirrored in columns
    place = torch.tensor([[[-0.5, 0, 0.5], [0, 0.5, -0.5]]])
    part = views_at(positions(), [place], grids=(4, 2, 4))
    rows = torch.tensor([-0.875, -0.625, -0.375, -0.125])
    columns = torch.tensor([0.875, 0.625, 0.375, 0.125])
    want = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
    torch.testing.assert_close(part.mid, want)
    assert (part.late.shape, part.cells.shape) == ((1, 2, 2, 2), (1, 2, 4, 4))


def test_views_at__stand_view_by_view() -> None:
    maps = CleanMaps(*(torch.randn(6, c, 8, 8) for c in (3, 5, CELL_STATISTICS)))
    whole, right = torch.eye(2, 3), torch.tensor([[0.5, 0, 0.5], [0, 1.0, 0]])
    parts = views_at(maps, [x.expand(6, 2, 3) for x in (whole, right)], grids=(8, 8, 8))
    torch.testing.assert_close(parts.mid[:6], maps.mid, atol=1e-5, rtol=0)
    alone = views_at(maps, [right.expand(6, 2, 3)], grids=(8, 8, 8))
    assert torch.equal(parts.late[6:], alone.late)


def test_raw_targets__pool_and_join() -> None:
    maps = CleanMaps(*(torch.randn(6, c, 8, 8) for c in (3, 5, CELL_STATISTICS)))
    target = raw_targets(maps)
    torch.testing.assert_close(target.cls[:, 3:], maps.late.mean((2, 3)))
    assert target.statistics.shape == (6, VIEW_STATISTICS)
    spread = maps.cells.flatten(2).std(2, correction=0)
    torch.testing.assert_close(target.statistics[:, CELL_STATISTICS:], spread)


def test_clean_teacher__standardises_by_the_whole_data() -> None:
    teacher = CleanTeacher(Pixels(), Direct(maximum=3000.0), device=CPU)
    samples = images(8).to(torch.int32).numpy().astype(np.uint16)
    teacher.measure(samples)
    assert teacher.standards is not None
    maps = teacher(torch.from_numpy(samples.astype(np.float32)), torch.arange(8))
    for name, x in teacher.standards(raw_targets(maps))._asdict().items():
        flat = x.transpose(0, 1).flatten(1)
        assert flat.mean(1).abs().max() < 0.05, name
        assert flat.abs().max() <= 6
    part = teacher.standards(raw_targets(CleanMaps(*(layer[:1] for layer in maps)))).cls
    assert part.abs().max() > 0.1, "a batch of its own is not made mean 0"
