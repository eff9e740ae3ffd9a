"""Numbers of a tile as small PNG images."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deo.maps.picture import ramp

Colour = tuple[int, int, int]

_STEPS = 254
_EMPTY = 255  # the palette's transparent entry
_LEVEL = 1  # of zlib: 6 makes tiles a tenth smaller and takes four times as long


class Stretch(NamedTuple):
    """Bounds of each channel that become black and full colour, (3,) each."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def fit_stretch(values: NDArray[np.float32]) -> Stretch:
    """Percentiles 2 and 98 of each column of (n, 3)."""
    if not len(values):
        return Stretch(np.zeros(3), np.ones(3))
    low, high = np.percentile(values, (2, 98), axis=0)
    return Stretch(low, high)


def paint_colours(
    values: NDArray[np.float32], stretch: Stretch, *, gamma: float = 1.0
) -> NDArray[np.uint8]:
    """(height, width, 3) -> (height, width, 4), transparent where a value is NaN.

    A `gamma` below 1 lifts the dark.
    """
    valid = np.isfinite(values).all(axis=2)
    out = np.zeros((*valid.shape, 4), np.uint8)
    scaled = (values[valid] - stretch.low) / np.maximum(stretch.high - stretch.low, 1e-12)
    out[valid, :3] = np.rint(np.clip(scaled, 0, 1) ** gamma * 255)
    out[valid, 3] = 255
    return out


def colour_png(image: NDArray[np.uint8]) -> bytes:
    """(height, width, 4) as a PNG."""
    return _encoded(Image.fromarray(image))


def ramp_png(values: NDArray[np.float32], low: float, high: float) -> bytes:
    """Numbers (height, width) from dark blue over green to yellow; NaN is transparent."""
    scale = _STEPS / max(high - low, 1e-12)
    steps = np.clip((np.nan_to_num(values, nan=low) - low) * scale, 0, _STEPS)
    indexes = np.where(np.isnan(values), _EMPTY, np.rint(steps)).astype(np.uint8)
    return _indexed(indexes, ramp_colours())


def class_png(numbers: NDArray[np.uint8], colours: Sequence[Colour]) -> bytes:
    """Numbers of classes (height, width), each in its colour; 255 is transparent."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = np.array(colours, np.uint8).reshape(-1, 3)
    return _indexed(numbers, palette)


def ramp_colours() -> NDArray[np.uint8]:
    """The palette of `ramp_png`, (256, 3), from low to high."""
    steps = np.arange(256, dtype=np.float32)[None]
    return ramp(steps, 0, _STEPS)[0, :, :3]


def _indexed(indexes: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(indexes)
    image.putpalette(palette.tobytes())
    return _encoded(image, transparency=_EMPTY)


def _encoded(image: Image.Image, **settings: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=_LEVEL, **settings)
    return content.getvalue()
