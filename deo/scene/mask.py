"""Which pixels of a scene count.

Four things decide: what a file declares (nodata, alpha, mask; its source reads that), a stored 0
where the sensor stores 0 for no measurement, fill values that nothing declares, and masks that
are laid over the scene afterwards, such as of clouds. True means valid everywhere.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import Pixels
from deo.scene.assets import Asset
from deo.scene.window import Window
from deo.sensors.radiometry import Radiometry
from deo.sensors.registry import sensor_of

NO_MASK = "none: every pixel counts as valid"
"""The source of a scene's mask where nothing marks any pixel."""


class Mask(Protocol):
    """Says which pixels of a scene are usable, on the scene's own grid."""

    @property
    def source(self) -> str:
        """What it goes by, for people: `SCL classes 3, 8, 9, 10`."""

    def valid(self, window: Window) -> NDArray[np.bool_]:
        """(H, W): True where the pixels of a window are usable."""


def apply_masks(pixels: Pixels, masks: Sequence[Mask], window: Window) -> Pixels:
    """Pixels of a window, of which those stay valid that every mask lets through."""
    valid = pixels.valid
    for mask in masks:
        valid = valid & mask.valid(window)
    return Pixels(pixels.values, valid)


def without_marks(pixels: Pixels, assets: Sequence[Asset]) -> Pixels:
    """Stored numbers of some bands, not valid where one of them is its zero or its fill value."""
    for plane, asset in zip(pixels.values, assets, strict=True):
        if asset.zero_is_nodata:
            np.logical_and(pixels.valid, plane != 0, out=pixels.valid)
        if asset.fill is not None:
            np.logical_and(pixels.valid, plane != np.float32(asset.fill), out=pixels.valid)
    return pixels


def with_zero_convention(assets: Sequence[Asset], radiometry: Radiometry) -> tuple[Asset, ...]:
    """Settle where a stored 0 means no measurement.

    It does in ESA's products, and wherever an offset of -1000 is owed, since no measurement of
    baseline 04.00 or later is stored as 0. It does not in floating-point numbers.
    """
    return tuple(
        replace(
            asset,
            zero_is_nodata=not asset.floating
            and (asset.zero_is_nodata or (offset < 0 and sensor_of(asset.band).zero_is_missing)),
        )
        for asset, offset in zip(assets, radiometry.offset, strict=True)
    )


def mask_source(assets: Sequence[Asset]) -> str:
    """What says which pixels are valid, for people."""
    said: dict[str, None] = {}
    for asset in assets:
        text = asset.source.mask_source([asset.index])
        if text:
            said[text] = None
        if asset.fill is not None:
            said[f"stored {asset.fill:.0f} (a fill value that nothing declares)"] = None
        if asset.zero_is_nodata and text != "nodata 0":
            said[f"digital number 0 ({sensor_of(asset.band).name} convention)"] = None
    return ", ".join(said) or NO_MASK
