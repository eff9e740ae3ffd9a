"""Two dates of one place in one stack of channels, as networks that see changes take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet, Pixels
from deo.contracts import Contract
from deo.errors import SceneError
from deo.scene.scene import Scene
from deo.scene.window import Window


@dataclass(frozen=True, kw_only=True)
class PairContract(Contract):
    """Two dates in one stack of channels, each through a contract of its own.

    The fields are the first date's.
    """

    second: Contract

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        half = len(pixels.values) // 2
        first = super().apply(pixels._replace(values=pixels.values[:half]))
        return np.concatenate(
            (first, self.second.apply(pixels._replace(values=pixels.values[half:])))
        )

    def record(self) -> dict[str, Any]:
        return {**super().record(), "second": self.second.record()}


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
