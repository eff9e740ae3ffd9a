"""True colour of a scene in the tiles of a map of features."""

import math
import threading
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from deo.bands import RGB_BANDS, BandSet, Pixels
from deo.errors import SceneError
from deo.explorer.paint import Stretch, fit_stretch, paint_colours
from deo.explorer.tile import SIDE
from deo.maps.metadata import MapInfo
from deo.scene.scene import Scene
from deo.scene.window import Window

_GAMMA = 0.75  # as in the pictures of `deo extract --preview`
_SAMPLE = 2048  # longest side of what is held of the scene for views from afar
_NEAR = 4  # pixels of the scene along a cell of a tile, up to which the scene itself is read


class TrueColour:
    """Pictures of a scene on the grid of a map. Safe for several threads.

    Args:
        scene: open as long as this is used.
        info: the map that tiles are laid on.

    Raises:
        SceneError: the scene lies on another grid.
    """

    def __init__(self, scene: Scene, info: MapInfo) -> None:
        self._scene = scene
        self._to_pixels = _pixels_of_cells(scene, info)
        rgb = all(band in scene.bands for band in RGB_BANDS)
        self._bands = RGB_BANDS if rgb else BandSet(scene.bands.names[:1])
        self.title = "True colour" if rgb else f"Band {self._bands}"
        self._sample = scene.sample(self._bands, size=_SAMPLE)
        self._stretch = _stretch(self._sample)
        self._image = self._painted(self._sample)
        self._reading = threading.Lock()

    @property
    def finest(self) -> int:
        """The level, 0 or below, at which a cell of a tile is about a pixel of the scene."""
        return -max(0, round(math.log2(abs(self._to_pixels.a))))

    def tile(self, level: int, row: int, col: int) -> NDArray[np.uint8]:
        """The tile (SIDE, SIDE, 4) of a level, transparent where there is nothing."""
        cells = SIDE * 2.0**level
        t = self._to_pixels
        left, right = (t.a * edge + t.c for edge in (col * cells, (col + 1) * cells))
        top, bottom = (t.e * edge + t.f for edge in (row * cells, (row + 1) * cells))
        if (right - left) / SIDE > _NEAR:
            height, width = self._image.shape[:2]
            down, along = height / self._scene.height, width / self._scene.width
            return _resized(self._image, left * along, top * down, right * along, bottom * down)
        first = max(0, int(np.floor(top))), max(0, int(np.floor(left)))
        last = (
            min(self._scene.height, int(np.ceil(bottom))),
            min(self._scene.width, int(np.ceil(right))),
        )
        if last[0] <= first[0] or last[1] <= first[1]:
            return np.zeros((SIDE, SIDE, 4), np.uint8)
        window = Window(
            row=first[0], col=first[1], height=last[0] - first[0], width=last[1] - first[1]
        )
        with self._reading:
            image = self._painted(self._scene.read(window, self._bands))
        return _resized(image, left - first[1], top - first[0], right - first[1], bottom - first[0])

    def _painted(self, pixels: Pixels) -> NDArray[np.uint8]:
        return paint_colours(_columns(pixels), self._stretch, gamma=_GAMMA)


def _pixels_of_cells(scene: Scene, info: MapInfo) -> Affine:
    """From (column, row) of cells of the map to those of pixels of the scene."""
    to_pixels: Affine = ~scene.transform @ info.transform
    turned = abs(to_pixels.b) + abs(to_pixels.d) > 1e-6 * abs(to_pixels.a)
    if scene.crs != info.crs or turned or to_pixels.a <= 0 or to_pixels.e <= 0:
        raise SceneError(
            f"{scene.name} does not lie on the grid of the features ({_name(scene.crs)}, not "
            f"{_name(info.crs)}, or turned); give the scene that they were extracted from"
        )
    return to_pixels


def _name(crs: Any) -> str:
    return "no coordinate reference system" if crs is None else str(crs.to_string())[:40]


def _stretch(sample: Pixels) -> Stretch:
    values = _columns(sample)
    return fit_stretch(values[np.isfinite(values).all(axis=2)])


def _columns(pixels: Pixels) -> NDArray[np.float32]:
    """(height, width, 3), NaN where not valid; one band becomes grey."""
    values = pixels.values.transpose(1, 2, 0)
    shown = np.where(pixels.valid[..., None], values, np.float32(np.nan))
    return np.broadcast_to(shown, (*pixels.valid.shape, 3))


def _resized(
    image: NDArray[np.uint8], left: float, top: float, right: float, bottom: float
) -> NDArray[np.uint8]:
    """The part of an image in a box as a tile; transparent where the box reaches past it."""
    height, width = image.shape[:2]
    out = np.zeros((SIDE, SIDE, 4), np.uint8)
    inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return out
    along, down = SIDE / (right - left), SIDE / (bottom - top)
    x0, x1 = (round((edge - left) * along) for edge in (inside[0], inside[2]))
    y0, y1 = (round((edge - top) * down) for edge in (inside[1], inside[3]))
    if x1 > x0 and y1 > y0:
        part = Image.fromarray(image).resize(
            (x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=inside
        )
        out[y0:y1, x0:x1] = np.asarray(part)
    return out
