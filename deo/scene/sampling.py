"""What statistics are measured on: a thin sample where that is enough, else more of the image."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from deo.bands import Pixels
from deo.scene.grid import Extent, Grid
from deo.scene.window import Window

ENOUGH = 1000
"""Valid numbers other than 0 below which a thin sample is not trusted: a 99.9th percentile."""

LARGEST_SCANNED = 2**28
"""Pixels of an image that is gone through whole, which takes seconds."""

_TALL, _WIDE = 512, 2048  # of the windows that an image is gone through in
_PART = 2**25  # pixels that are looked at of a larger one
_MOST_KEPT = 2**20  # pixels

_LATTICE = 16  # windows along each axis of an image beyond that

_PROBES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))
_PROBE = 4  # thinned pixels a side
_PROBE_STEP = 256  # pixels of the image per thinned one, at most
_MARGIN = 2  # thinned pixels that a resampling kernel may reach beyond its own

Read = Callable[[Window], Pixels]


def telling(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: where pixels (C, H, W) are valid and at least one band is not 0."""
    return valid & values.any(axis=0)


def telling_pixels(read: Read, *, height: int, width: int) -> NDArray[np.float32]:
    """(C, N): valid pixels with a band that is not 0, from every part of an image.

    The image is read window by window; of one beyond `LARGEST_SCANNED` windows of `_PART` pixels
    are read, spread evenly. About `_MOST_KEPT` pixels are kept, evenly from each window.
    """
    windows = spread_windows(height, width)
    share = max(1, _MOST_KEPT // len(windows))
    parts = []
    for window in windows:
        values, valid = read(window)
        kept = values[:, telling(values, valid)]
        parts.append(kept[:, :: max(1, math.ceil(kept.shape[1] / share))])
    return np.concatenate(parts, axis=1)


def spread_windows(height: int, width: int) -> list[Window]:
    """All windows of an image, or of one beyond `LARGEST_SCANNED` some, spread evenly."""
    windows = list(_windows(height, width))
    if height * width > LARGEST_SCANNED:
        count = min(len(windows), max(1, _PART // (_TALL * _WIDE)))
        windows = [windows[i] for i in np.linspace(0, len(windows) - 1, count).astype(int)]
    return windows


def gone_through(grid: Grid) -> bool:
    """Whether `telling_pixels` looks at all of an image."""
    return grid.height * grid.width <= LARGEST_SCANNED


def _windows(height: int, width: int) -> Iterator[Window]:
    for row in range(0, height, _TALL):
        for col in range(0, width, _WIDE):
            yield Window(
                row=row, col=col, height=min(_TALL, height - row), width=min(_WIDE, width - col)
            )


def overviews_tell(
    read: Read, thin: Callable[[Window, int, int], Pixels], extent: Extent, step: float
) -> bool:
    """Whether overviews hold what the image holds, by a look at a few places.

    Overviews may be empty (made before the image was written, or by the rule of another nodata
    value) or left from an earlier image. The first place that holds anything decides.

    Args:
        read: pixels of the image.
        thin: pixels of a window thinned to so many rows and columns, which reads the overviews.
        extent: the part of the image in question.
        step: pixels of the image per thinned pixel.
    """
    top, left, bottom, right = (round(side) for side in extent)
    step = min(step, _PROBE_STEP)
    side = math.ceil(_PROBE * step)
    height, width = min(side, bottom - top), min(side, right - left)
    for down, across in _PROBES:
        row = top + int((bottom - top - height) * down)
        col = left + int((right - left - width) * across)
        small = thin(
            Window(row=row, col=col, height=height, width=width),
            max(1, round(height / step)),
            max(1, round(width / step)),
        )
        reach = math.ceil(_MARGIN * step)
        first, begin = max(top, row - reach), max(left, col - reach)
        large = read(
            Window(
                row=first,
                col=begin,
                height=min(bottom, row + height + reach) - first,
                width=min(right, col + width + reach) - begin,
            )
        )
        if small.valid.any() or large.valid.mean() > 0.5:
            return _alike(small, large)
    return True


def _alike(small: Pixels, large: Pixels) -> bool:
    """Whether thinned pixels lie within the range of those they stand for, about."""
    if not (small.valid.any() and large.valid.any()):
        return False
    thinned, stored = small.values[:, small.valid], large.values[:, large.valid]
    low, high = float(stored.min()), float(stored.max())
    # cubic kernels overshoot, lossy compression wavers, integers are rounded
    slack = 0.5 * (high - low) + 0.02 * max(abs(low), abs(high))
    return low - slack <= float(thinned.min()) and float(thinned.max()) <= high + slack


def thin_image(read: Read, extent: Extent, *, bands: int, height: int, width: int) -> Pixels:
    """An extent thinned to height x width pixels, the nearest of the image, without overviews."""
    rows = _nearest(extent.top, extent.bottom, height)
    cols = _nearest(extent.left, extent.right, width)
    values = np.empty((bands, height, width), np.float32)
    valid = np.empty((height, width), np.bool_)
    for down in _runs(rows, _TALL):
        for across in _runs(cols, _WIDE):
            row, col = int(rows[down.start]), int(cols[across.start])
            last_row, last_col = int(rows[down.stop - 1]), int(cols[across.stop - 1])
            part = read(
                Window(row=row, col=col, height=last_row - row + 1, width=last_col - col + 1)
            )
            picked_rows, picked_cols = (rows[down] - row)[:, None], cols[across] - col
            values[:, down, across] = part.values[:, picked_rows, picked_cols]
            valid[down, across] = part.valid[picked_rows, picked_cols]
    return Pixels(values, valid)


def lattice(
    read: Read, extent: Extent, *, bands: int, height: int, width: int, across: int = _LATTICE
) -> Pixels:
    """Small windows spread evenly and set side by side, where thinning would read a huge image.

    Args:
        across: windows along each axis.
    """
    tall, wide = -(-height // across), -(-width // across)
    tops = np.linspace(extent.top, extent.bottom - tall, across).astype(int)
    lefts = np.linspace(extent.left, extent.right - wide, across).astype(int)
    values = np.empty((bands, across * tall, across * wide), np.float32)
    valid = np.empty(values.shape[1:], np.bool_)
    for down, row in enumerate(tops):
        for across, col in enumerate(lefts):
            part = read(Window(row=int(row), col=int(col), height=tall, width=wide))
            place = (
                slice(down * tall, (down + 1) * tall),
                slice(across * wide, (across + 1) * wide),
            )
            values[:, *place], valid[place] = part
    return Pixels(values[:, :height, :width], valid[:height, :width])


def _nearest(start: float, stop: float, count: int) -> NDArray[np.intp]:
    """The pixels at the centres of `count` equal parts of an axis."""
    return (start + (np.arange(count) + 0.5) * (stop - start) / count).astype(np.intp)


def _runs(picks: NDArray[np.intp], length: int) -> list[slice]:
    """Slices of ascending picks that lie in the same stretch of `length` pixels."""
    edges = [0, *(np.flatnonzero(np.diff(picks // length)) + 1), len(picks)]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
