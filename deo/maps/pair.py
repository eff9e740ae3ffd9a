"""Two dates of one place in one stack of channels, as networks that see changes take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet, Pixels
from deo.contracts import InputContract
from deo.errors import SceneError
from deo.scene.scene import Scene
from deo.scene.window import Window


@dataclass(frozen=True, kw_only=True)
class PairContract:
    """Two dates in one stack of channels, each through the same contract by itself."""

    each: InputContract

    @property
    def bands(self) -> BandSet:
        """Of one date."""
        return self.each.bands

    @property
    def per_image(self) -> bool:
        return self.each.per_image

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        """(2 C, H, W) digital numbers, the dates one after the other -> the same, normalised."""
        dates = np.split(pixels.values, 2)
        return np.concatenate([self.each.apply(Pixels(date, pixels.valid)) for date in dates])

    def record(self) -> dict[str, Any]:
        return self.each.record()


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """Two scenes of one grid; valid where both are."""

    first: Scene
    second: Scene

    def __post_init__(self) -> None:
        one, other = self.first, self.second
        same = one.crs == other.crs and one.transform.almost_equals(other.transform, 1e-6)
        if not same or (one.height, one.width) != (other.height, other.width):
            raise SceneError(
                f"mismatched pair: {one.name} is {one.height} x {one.width} in {one.crs}, "
                f"{other.name} {other.height} x {other.width} in {other.crs}, or their origins "
                "differ; warp one onto the grid of the other first (gdalwarp -te -tr -t_srs)"
            )

    @property
    def height(self) -> int:
        return self.first.height

    @property
    def width(self) -> int:
        return self.first.width

    def read(self, window: Window, bands: BandSet) -> Pixels:
        one, other = self.first.read(window, bands), self.second.read(window, bands)
        return Pixels(np.concatenate((one.values, other.values)), one.valid & other.valid)


def joined(scenes: Sequence[Scene]) -> Scene | ScenePair:
    """One scene as it is, and two as a pair.

    Raises:
        SceneError: the two do not share a grid.
    """
    if len(scenes) == 1:
        return scenes[0]
    first, second = scenes
    return ScenePair(first=first, second=second)
