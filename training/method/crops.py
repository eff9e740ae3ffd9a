"""Random resized crops: where they lie, and their resampling as two matrix products."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ATTEMPTS = 10
"""How often torchvision's RandomResizedCrop tries before it takes the centre."""


_BLOCK = 40
"""Outputs per product; 32 to 48 were equally fast on a CPU."""


class Boxes(NamedTuple):
    """N crops in pixels of the source, each field (N,) int64."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]


def random_boxes(
    draws: NDArray[np.float64],
    *,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Boxes:
    """Boxes as torchvision's RandomResizedCrop draws them, all at once.

    Args:
        draws: (N, 22) uniform in [0, 1): ten areas, ten aspects, the row, the column.
        height, width: the source, in pixels.
        area: least and greatest part of the source's area.
        aspect: least and greatest width / height.
    """
    areas = height * width * (area[0] + (area[1] - area[0]) * draws[:, :ATTEMPTS])
    low, high = math.log(aspect[0]), math.log(aspect[1])
    ratios = np.exp(low + (high - low) * draws[:, ATTEMPTS : 2 * ATTEMPTS])
    widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    row, first = np.arange(len(draws)), fits.argmax(axis=1)
    centre_height, centre_width = _centre_size(height, width, aspect)
    found = fits.any(axis=1)
    h = np.where(found, heights[row, first], centre_height)
    w = np.where(found, widths[row, first], centre_width)
    top = np.floor(draws[:, -2] * (height - h + 1)).astype(np.int64)
    left = np.floor(draws[:, -1] * (width - w + 1)).astype(np.int64)
    return Boxes(
        top=np.where(found, top, (height - h) // 2),
        left=np.where(found, left, (width - w) // 2),
        height=h,
        width=w,
    )


def _centre_size(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the central crop taken when no attempt fitted."""
    if width / height < aspect[0]:
        return min(height, round(width / aspect[0])), width
    if width / height > aspect[1]:
        return height, min(width, round(height * aspect[1]))
    return height, width


def resize_weights(
    start: Tensor, length: Tensor, flip: Tensor, *, extent: int, size: int
) -> Tensor:
    """Antialiased bicubic resampling of N intervals as matrices.

    Row i of a matrix holds the weights of output pixel i over the source's `extent` pixels; those
    outside start .. start + length weigh nothing, as if the crop had been cut out first. The filter
    is PIL's and torchvision's: Keys' cubic with a = -1/2, widened by the scale when shrinking.

    Args:
        start, length: (N,) int64, in source pixels.
        flip: (N,) bool, True reverses the output.

    Returns:
        (N, size, extent) float32; rows sum to one.
    """
    start, length = start.double()[:, None, None], length.double()[:, None, None]
    scale = length / size
    target = torch.arange(size, device=start.device, dtype=torch.float64)[None, :, None]
    target = torch.where(flip[:, None, None], size - 1 - target, target)
    source = torch.arange(extent, device=start.device, dtype=torch.float64)[None, None, :] - start
    x = (source + 0.5 - scale * (target + 0.5)).abs() / scale.clamp_min(1.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    weights = torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))
    weights = torch.where((source >= 0) & (source < length), weights, 0.0)
    return (weights / weights.sum(-1, keepdim=True)).float()


class Band(NamedTuple):
    """Weights (outputs, inputs) by which `inputs`, a range of the source, make `outputs`."""

    outputs: slice
    inputs: slice
    weights: Tensor


@lru_cache(maxsize=2048)
def _bands(length: int, size: int, flip: bool) -> tuple[Band, ...]:
    """The resampling of one whole interval, without most of its zeros; kept, since lengths recur.

    A block of about 40 outputs needs few inputs: at 80 -> 224 pixels this is three times faster
    than the whole matrix, at 190 -> 224 four times.
    """
    whole = resize_weights(
        torch.zeros(1), torch.tensor([length]), torch.tensor([flip]), extent=length, size=size
    )[0]
    blocks = max(1, round(size / _BLOCK))
    bands = []
    for start, stop in pairwise(size * block // blocks for block in range(blocks + 1)):
        used = whole[start:stop].any(0).nonzero()
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        bands.append(Band(slice(start, stop), inputs, whole[start:stop, inputs].contiguous()))
    return tuple(bands)


class Crops(NamedTuple):
    """N crops of a batch, to be resized.

    `source` (N,) int64 says which image; `flip_rows` and `flip_columns` (N,) bool turn the result
    upside down and left to right; `scale` and `shift` (N, C) float32 map each band's pixels first.
    """

    source: NDArray[np.int64]
    boxes: Boxes
    flip_rows: NDArray[np.bool_]
    flip_columns: NDArray[np.bool_]
    scale: Tensor
    shift: Tensor

    def part(self, part: NDArray[np.int64]) -> "Crops":
        return Crops(
            source=self.source[part],
            boxes=Boxes(*(field[part] for field in self.boxes)),
            flip_rows=self.flip_rows[part],
            flip_columns=self.flip_columns[part],
            scale=self.scale[part],
            shift=self.shift[part],
        )


def resize_crops(images: Tensor, crops: Crops, which: NDArray[np.int64], out: Tensor) -> None:
    """Cut, map and resize crops: torchvision's antialiased bicubic `resized_crop`.

    Args:
        images: (B, C, H, W) float32.
        which: (K,) the crops to make.
        out: (N, C, size, size) float32; rows `which` are written.
    """
    (_resize_each if images.device.type == "cpu" else _resize_together)(images, crops, which, out)


def _resize_each(images: Tensor, crops: Crops, which: NDArray[np.int64], out: Tensor) -> None:
    """One crop after the other at its own size: the least arithmetic, and every sample goes
    through the same products whatever stands beside it in the batch."""
    bands, size = out.shape[1], out.shape[-1]
    part = crops.part(which)
    boxes = np.stack(part.boxes, axis=1).tolist()
    flips = zip(part.flip_rows.tolist(), part.flip_columns.tolist(), strict=True)
    scales, shifts = crops.scale[:, :, None, None], crops.shift[:, :, None, None]
    for n, source, (top, left, height, width), (down, right) in zip(
        which.tolist(), part.source.tolist(), boxes, flips, strict=True
    ):
        patch = images[source, :, top : top + height, left : left + width]
        lines = patch.mul(scales[n]).add_(shifts[n]).view(bands * height, width)
        wide, done = images.new_empty(bands, height, size), out[n]
        for band in _bands(width, size, right):
            product = wide.view(bands * height, size)[:, band.outputs]
            torch.mm(lines[:, band.inputs], band.weights.T, out=product)
        for band in _bands(height, size, down):
            weights = band.weights.expand(bands, -1, -1)
            torch.bmm(weights, wide[:, band.inputs], out=done[:, band.outputs])


def _resize_together(images: Tensor, crops: Crops, which: NDArray[np.int64], out: Tensor) -> None:
    """All crops in few large products over the whole source, for a GPU."""
    batch, bands, height, width = images.shape
    size, device = out.shape[-1], images.device

    def there(values: NDArray[np.int64] | NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(values).to(device)

    for first in range(0, len(which), batch):
        part = which[first : first + batch]
        some, index = crops.part(part), there(part)
        top, left, high, broad = (there(field) for field in some.boxes)
        rows = resize_weights(top, high, there(some.flip_rows), extent=height, size=size)
        columns = resize_weights(left, broad, there(some.flip_columns), extent=width, size=size)
        scale, shift = some.scale[:, :, None, None], some.shift[:, :, None, None]
        # (n, H, C, W): with bands beside columns both products act on one plain matrix a crop
        pixels = torch.addcmul(shift, images[there(some.source)], scale).transpose(1, 2)
        lines = pixels.reshape(len(part), height * bands, width)
        wide = torch.bmm(lines, columns.mT).view(len(part), height, bands * size)
        out[index] = torch.bmm(rows, wide).view(len(part), size, bands, size).transpose(1, 2)
