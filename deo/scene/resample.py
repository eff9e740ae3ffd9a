"""Values carried from one grid of pixels onto another.

Kernels, the same wherever a window lies: bilinear onto finer pixels, area average onto coarser
ones, a plain copy between equal ones. Pixels that are not valid weigh nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import Pixels
from deo.scene.grid import Line


class Thinned(NamedTuple):
    """Those of evenly spaced pixels along an axis whose centres lie on another grid.

    first, end: the pixels, counted among the spaced ones; equal where there is none.
    start, stop: where they lie, in the other grid's pixels.
    """

    first: int
    end: int
    start: float
    stop: float


def thin(line: Line, own: int, count: int, length: int) -> Thinned:
    """Space `count` pixels over an axis of `own`, on one of `length` other pixels."""
    edges = line.scale * (np.arange(count + 1) * own / count) + line.shift
    centres = (edges[:-1] + edges[1:]) / 2
    inside = np.flatnonzero((centres > 0) & (centres < length))
    if not len(inside):
        return Thinned(0, 0, 0.0, 0.0)
    first, end = int(inside[0]), int(inside[-1]) + 1
    return Thinned(first, end, max(float(edges[first]), 0.0), min(float(edges[end]), length))


class Taps(NamedTuple):
    """Weights of a kernel along one axis.

    start, stop: the other grid's pixels that are needed.
    taken, weight: (n, T): for each own pixel, pixels relative to `start` and their weights.
    inside: (n,) bool, whether the own pixel's centre lies on the other grid.
    """

    start: int
    stop: int
    taken: NDArray[np.intp]
    weight: NDArray[np.float32]
    inside: NDArray[np.bool_]


def taps(line: Line, first: int, count: int, length: int) -> Taps:
    """Kernel weights for own pixels first..first+count on an axis of `length` other pixels."""
    pixels = np.arange(first, first + count, dtype=np.float64)
    centre = line.scale * (pixels + 0.5) + line.shift
    inside = (centre > 0) & (centre < length)
    if line.scale <= 1:
        # rounded first: a centre that is on a pixel but for the last bits needs no second tap
        low = np.floor(np.round(centre - 0.5, 9))
        part = centre - 0.5 - low
        index = np.stack([low, low + 1], axis=1)
        weight = np.stack([1 - part, part], axis=1)
        if not np.abs(part).max(initial=0) > 1e-6:
            index, weight = index[:, :1], np.ones((count, 1))
    else:
        start, stop = line.scale * pixels + line.shift, line.scale * (pixels + 1) + line.shift
        index = np.floor(np.round(start, 9))[:, None] + np.arange(math.ceil(line.scale) + 1)
        weight = np.minimum(index + 1, stop[:, None]) - np.maximum(index, start[:, None])
        weight = np.where(weight > 1e-9, weight, 0)
        # pixels beyond the edge weigh nothing, and the others their share of what is left
        weight *= (index >= 0) & (index < length)
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    index = np.clip(index, 0, length - 1).astype(np.intp)
    begin, end = int(index.min()), int(index.max()) + 1
    return Taps(begin, end, index - begin, weight.astype(np.float32), inside)


def _along_rows(values: NDArray[np.float32], axis: Taps) -> NDArray[np.float32]:
    """Weighted sums of rows of (..., h, w); tap by tap, so that no window changes a bit."""
    out = values[..., axis.taken[:, 0], :]
    if axis.weight.shape[1] == 1:
        return out
    out *= axis.weight[:, 0, None]
    for tap in range(1, axis.weight.shape[1]):
        out += values[..., axis.taken[:, tap], :] * axis.weight[:, tap, None]
    return out


def _resample(values: NDArray[np.float32], rows: Taps, cols: Taps) -> NDArray[np.float32]:
    by_row = _along_rows(values, rows)
    # columns as rows of the transpose: the same sums, along memory that lies together
    turned = _along_rows(np.ascontiguousarray(by_row.swapaxes(-1, -2)), cols)
    return np.ascontiguousarray(turned.swapaxes(-1, -2))


def resample(pixels: Pixels, rows: Taps, cols: Taps) -> Pixels:
    """Carry pixels (C, h, w), cut out at the taps' start and stop, onto the own grid.

    A pixel is valid where at least half of the kernel's weight is.
    """
    inside = rows.inside[:, None] & cols.inside
    if pixels.valid.all():
        return Pixels(_resample(pixels.values, rows, cols), inside)
    # both are resampled and divided, so that holes neither darken nor brighten their neighbours
    share = _resample(pixels.valid.astype(np.float32), rows, cols)
    values = _resample(np.where(pixels.valid, pixels.values, np.float32(0)), rows, cols)
    np.divide(values, share, out=values, where=share > 0)
    return Pixels(values, inside & (share >= 0.5))
