"""What whole, clean samples say of their parts: the targets of direct distillation.

A view is cropped, resized, mirrored and coloured; a target is not. The optical teacher sees a
sample once, under one maximum, and a view is compared with the part of its maps on which it lies.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, RGB_BANDS
from deo.training.method import config
from deo.training.method.optical import OpticalTeacher

CELL = 4
"""Pixels along a cell of the band statistics: the stride of the finest stage of a Swin."""

CELL_STATISTICS = len(MODEL_BANDS) + 5
"""Per cell: the logarithm of every band, three indices, the gradients of red and near infrared."""

VIEW_STATISTICS = 2 * CELL_STATISTICS
"""Per view: mean and standard deviation of its cells."""

_LIMIT = 6.0
_LEAST = 1e-3
_MEASURED = 512
"""Samples on which means and deviations of the targets are measured."""


class CleanMaps(NamedTuple):
    """(B, width, h, w) maps of whole samples: the optical teacher's two layers, and the cells'
    statistics."""

    mid: Tensor
    late: Tensor
    cells: Tensor


class Targets(NamedTuple):
    """What views are compared with.

    Args:
        cls: (V, mid + late) both layers of the optical teacher, pooled over the view and joined.
        mid, late: (V, width, h, w) of the optical teacher, where the view lies.
        cells: (V, 15, h, w) band statistics, where the view lies.
        statistics: (V, 30) mean and standard deviation of the view's cells.
    """

    cls: Tensor
    mid: Tensor
    late: Tensor
    cells: Tensor
    statistics: Tensor


class Numbered(Protocol):
    """Samples by their numbers, as training reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> NDArray[Any]: ...


class Standards(NamedTuple):
    """Mean and standard deviation of every channel of every target, over the data."""

    mean: Targets
    std: Targets

    def __call__(self, targets: Targets) -> Targets:
        """Targets whose channels have about mean 0 and variance 1.

        The features of a network share most of their mean, and a cosine between such vectors
        rewards that mean. Values beyond 6 are cut: what comes out of a ReLU has long tails.
        """
        parts = zip(targets, self.mean, self.std, strict=True)
        return Targets(
            *(
                ((x - mean.to(x)) / (std.to(x) + _LEAST)).clamp(-_LIMIT, _LIMIT)
                for x, mean, std in parts
            )
        )


class CleanTeacher:
    """An optical teacher that sees samples whole and clean.

    Args:
        teacher: the network.
        settings: `maximum` is its white, `enlarge` the scale at which it sees them, `keep` holds
            the maps of every sample in memory, in half precision.
        device: where it computes.
    """

    def __init__(
        self, teacher: OpticalTeacher, settings: config.Direct, *, device: torch.device
    ) -> None:
        self.teacher, self.settings, self.device = teacher, settings, device
        self.standards: Standards | None = None
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def measure(self, samples: Numbered) -> None:
        """Measure means and deviations of the targets, on samples spread over the data.

        They are a function of the data alone, so that a resumed run has the same. Those of a batch
        would sway from step to step: it holds few samples, and at times half of them of one scene.
        """
        seen = []
        for number in range(0, len(samples), max(1, len(samples) // _MEASURED)):
            image = torch.from_numpy(np.asarray(samples[number], np.float32))[None]
            maps = self(image.to(self.device), torch.tensor([number]))
            seen.append(raw_targets(maps))
        parts = [torch.cat(part) for part in zip(*seen, strict=True)]
        moments = [
            torch.std_mean(x, [0, *range(2, x.ndim)], correction=0, keepdim=True) for x in parts
        ]
        std, mean = (Targets(*moment) for moment in zip(*moments, strict=True))
        self.standards = Standards(mean, std)

    @torch.no_grad()
    def __call__(self, images: Tensor, samples: Tensor) -> CleanMaps:
        """Maps of a batch.

        Args:
            images: (B, 10, H, W) in digital numbers.
            samples: (B,) int64 on the CPU, their numbers in the data.
        """
        if not self.settings.keep:
            mid, late = self._maps(images)
            return CleanMaps(mid, late, cell_statistics(images))
        kept = []
        for image, sample in zip(images, samples.tolist(), strict=True):
            if sample not in self._kept:
                # one by one: a map does not depend on the batch in which its sample came first,
                # so that a resumed run has the same
                maps = self._maps(image[None])
                self._kept[sample] = (maps[0].half().cpu(), maps[1].half().cpu())
            kept.append(self._kept[sample])
        mid, late = (
            torch.cat(layer).float().to(images.device) for layer in zip(*kept, strict=True)
        )
        return CleanMaps(mid, late, cell_statistics(images))

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        rgb = (images[:, : len(RGB_BANDS)] / self.settings.maximum).clamp(0, 1)
        rgb = F.interpolate(rgb, scale_factor=self.settings.enlarge, mode="bicubic").clamp(0, 1)
        mean, std = (rgb.new_tensor(x).view(3, 1, 1) for x in (AERIAL_MEAN, AERIAL_STD))
        seen = self.teacher((rgb - mean) / std)
        return seen.mid, seen.late


def cell_statistics(images: Tensor) -> Tensor:
    """Statistics of cells of 4 x 4 pixels, (B, 10, H, W) digital numbers -> (B, 15, H / 4, W / 4).

    The mean logarithm of every band; NDVI, MNDWI (green, first short-wave infrared) and NDBI (first
    short-wave infrared, near infrared); the logarithm of the gradients of red and near infrared.
    """
    red, green, nir, swir = (
        images[:, MODEL_BANDS.names.index(name), None] for name in ("B04", "B03", "B08", "B11")
    )
    logs = torch.log1p(images)
    indices = [(a - b) / (a + b + 1) for a, b in ((nir, red), (green, swir), (swir, nir))]
    edges = logs[:, [MODEL_BANDS.names.index(name) for name in ("B04", "B08")]]
    down = F.pad((edges[..., 1:, :] - edges[..., :-1, :]).abs(), (0, 0, 0, 1))
    right = F.pad((edges[..., 1:] - edges[..., :-1]).abs(), (0, 1))
    means = F.avg_pool2d(torch.cat((logs, *indices), 1), CELL)
    return torch.cat((means, torch.log(F.avg_pool2d(down + right, CELL) + 0.01)), 1)


def views_at(maps: CleanMaps, places: Sequence[Tensor], *, grids: Sequence[int]) -> CleanMaps:
    """The parts of maps on which views lie, view by view.

    Args:
        maps: of the B samples.
        places: per view of a sample (B, 2, 3), see `deo.training.method.views.view_places`.
        grids: side of the parts of the middle and late layer and of the cells.
    """
    at = torch.cat(list(places)).to(maps.mid.device)
    parts = []
    for layer, side in zip(maps, grids, strict=True):
        several = layer.repeat(len(places), 1, 1, 1)
        grid = F.affine_grid(at.to(layer), [len(at), 1, side, side], align_corners=False)
        parts.append(F.grid_sample(several, grid, padding_mode="border", align_corners=False))
    return CleanMaps(*parts)


def raw_targets(maps: CleanMaps) -> Targets:
    """Targets of views with these maps, in the units of each."""
    cells = maps.cells.flatten(2)
    return Targets(
        cls=torch.cat([layer.mean((2, 3)) for layer in (maps.mid, maps.late)], 1),
        mid=maps.mid,
        late=maps.late,
        cells=maps.cells,
        statistics=torch.cat((cells.mean(2), cells.std(2, correction=0)), 1),
    )
