"""Random resized crops: where they lie, and their resampling as two matrix products.

Every crop of a batch has a place and size of its own, so a library's resize would be called once
for each. A separable filter is a matrix for the rows and one for the columns; multiplying by
them serves many crops and all bands at once, and a flip costs nothing: it reverses a matrix.
"""

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
    # in the logarithm, 3/4 and 4/3 are equally likely
    low, high = math.log(aspect[0]), math.log(aspect[1])
    ratios = np.exp(low + (high - low) * draws[:, ATTEMPTS : 2 * ATTEMPTS])
    widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    row, first = np.arange(len(draws)), fits.argmax(axis=1)
    centre_height, centre_width = _centre_size(height, width, aspect)
    any_fits = fits.any(axis=1)
    h = np.where(any_fits, heights[row, first], centre_height)
    w = np.where(any_fits, widths[row, first], centre_width)
    top = np.floor(draws[:, -2] * (height - h + 1)).astype(np.int64)
    left = np.floor(draws[:, -1] * (width - w + 1)).astype(np.int64)
    return Boxes(
        top=np.where(any_fits, top, (height - h) // 2),
        left=np.where(any_fits, left, (width - w) // 2),
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
    # fp64, since a distance is the small difference of two positions far from the origin
    start, length = start.double()[:, None, None], length.double()[:, None, None]
    scale = length / size
    target = torch.arange(size, device=start.device, dtype=torch.float64)[None, :, None]
    target = torch.where(flip[:, None, None], size - 1 - target, target)
    source = torch.arange(extent, device=start.device, dtype=torch.float64)[None, None, :] - start
    # positions are those of pixel centres. When shrinking, the filter is stretched so that its
    # support of 2 spans two output pixels: that is the antialiasing. When enlarging it is not
    x = (source + 0.5 - scale * (target + 0.5)).abs() / scale.clamp_min(1.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    weights = torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))
    weights = torch.where((source >= 0) & (source < length), weights, 0.0)
    # what the crop's border cuts off is shared out among the rest, as PIL does
    return (weights / weights.sum(-1, keepdim=True)).float()


class WeightBlock(NamedTuple):
    """Weights (outputs, inputs) by which `inputs`, a range of the source, make `outputs`."""

    outputs: slice
    inputs: slice
    weights: Tensor


@lru_cache(maxsize=2048)
def _weight_blocks(length: int, size: int, flip: bool) -> tuple[WeightBlock, ...]:
    """The resampling of one whole interval, without most of its zeros; kept, since lengths recur.

    A block of about 40 outputs needs few inputs: at 80 -> 224 pixels this is three times faster
    than the whole matrix, at 190 -> 224 four times.
    """
    whole = resize_weights(
        torch.zeros(1), torch.tensor([length]), torch.tensor([flip]), extent=length, size=size
    )[0]
    blocks = max(1, round(size / _BLOCK))
    weight_blocks = []
    for start, stop in pairwise(size * block // blocks for block in range(blocks + 1)):
        used = whole[start:stop].any(0).nonzero()
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        weights = whole[start:stop, inputs].contiguous()
        weight_blocks.append(WeightBlock(slice(start, stop), inputs, weights))
    return tuple(weight_blocks)


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
    through the same products whatever stands beside it in the batch.

    One product for all crops would run over the whole source and multiply mostly by zero.
    """
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
        for block in _weight_blocks(width, size, right):
            product = wide.view(bands * height, size)[:, block.outputs]
            torch.mm(lines[:, block.inputs], block.weights.T, out=product)
        for block in _weight_blocks(height, size, down):
            weights = block.weights.expand(bands, -1, -1)
            torch.bmm(weights, wide[:, block.inputs], out=done[:, block.outputs])


def _resize_together(images: Tensor, crops: Crops, which: NDArray[np.int64], out: Tensor) -> None:
    """All crops in few large products over the whole source, for a GPU.

    The zeros outside a crop cost less there than a kernel launch for each crop.
    """
    batch, bands, height, width = images.shape
    size, device = out.shape[-1], images.device

    def on_device(values: NDArray[np.int64] | NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(values).to(device)

    for first in range(0, len(which), batch):
        part = which[first : first + batch]
        some, index = crops.part(part), on_device(part)
        top, left, high, broad = (on_device(field) for field in some.boxes)
        rows = resize_weights(top, high, on_device(some.flip_rows), extent=height, size=size)
        columns = resize_weights(left, broad, on_device(some.flip_columns), extent=width, size=size)
        scale, shift = some.scale[:, :, None, None], some.shift[:, :, None, None]
        # (n, H, C, W): with bands beside columns both products act on one plain matrix a crop
        pixels = torch.addcmul(shift, images[on_device(some.source)], scale).transpose(1, 2)
        lines = pixels.reshape(len(part), height * bands, width)
        wide = torch.bmm(lines, columns.mT).view(len(part), height, bands * size)
        out[index] = torch.bmm(rows, wide).view(len(part), size, bands, size).transpose(1, 2)
