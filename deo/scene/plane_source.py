"""Planes of numbers that are cut before they are loaded: NumPy, Dask, or xarray's lazy arrays."""

import hashlib
import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import Pixels
from deo.errors import DeoError, SceneError
from deo.scene.grid import Extent, Grid
from deo.scene.sampling import lattice, thin_image
from deo.scene.sources import is_floating
from deo.scene.window import Window

_THINNED = 2**24  # pixels of an image that is gone through whole for a sample
_SPOTS = 8  # windows along each axis of a larger one
_HELD = 2**28  # bytes of rows that are loaded at once from Dask


class _Strip(NamedTuple):
    """Whole rows of some planes, from `row` on."""

    indexes: tuple[int, ...]
    row: int
    planes: tuple[NDArray[Any], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaneSource:
    """Planes on one grid, of each of which a part may be all that is there.

    Args:
        planes: one two-dimensional array a band, of anything that can be sliced.
        dtypes, nodatas: of each plane, as it is stored.
        row, col: the first pixel of the grid that the planes hold.
    """

    path: str
    planes: tuple[Any, ...]
    dtypes: tuple[str, ...]
    nodatas: tuple[float | None, ...]
    grid: Grid
    row: int = 0
    col: int = 0
    _strips: list[_Strip] = field(default_factory=list, init=False, repr=False)

    @property
    def label(self) -> str:
        return self.path

    @property
    def spectral(self) -> int:
        return len(self.planes)

    @property
    def is_dask(self) -> bool:
        """Whether a plane is computed by Dask when it is read."""
        return any(map(_is_dask, self.planes))

    @property
    def nbytes(self) -> int:
        return sum(int(plane.nbytes) for plane in self.planes)

    @cached_property
    def digest(self) -> str:
        """What changes with any number; of planes that are not loaded, with the way to them."""
        digest = hashlib.sha256()
        for plane in self.planes:
            if isinstance(plane, np.ndarray):
                digest.update(np.ascontiguousarray(plane).tobytes())
            elif _is_dask(plane):
                digest.update(str(plane.name).encode())
            else:
                digest.update(repr((plane.encoding.get("source"), plane.sizes)).encode())
        return digest.hexdigest()

    def read(self, indexes: Sequence[int], window: Window) -> Pixels:
        if not self.is_dask:
            return self._cut(indexes, window)
        strip = self._strip(tuple(indexes), window)
        rows = slice(window.row - strip.row, window.row - strip.row + window.height)
        cols = slice(window.col - self.col, window.col - self.col + window.width)
        return self._pixels(indexes, [plane[rows, cols] for plane in strip.planes])

    def _strip(self, indexes: tuple[int, ...], window: Window) -> _Strip:
        """Rows that hold the window: those read last, or as many as memory allows.

        Tiles overlap, and each would have Dask compute all chunks that it touches.
        """
        end = window.row + window.height
        for strip in self._strips:
            if (
                strip.indexes == indexes
                and strip.row <= window.row
                and end <= strip.row + len(strip.planes[0])
            ):
                return strip
        self._strips.clear()  # before the next ones are loaded
        width = self.planes[0].shape[1]
        a_row = width * sum(np.dtype(self.dtypes[index - 1]).itemsize for index in indexes)
        height = max(window.height, _HELD // a_row)
        first = window.row - self.row
        parts = self._load([self.planes[i - 1][first : first + height] for i in indexes])
        self._strips.append(_Strip(indexes, window.row, tuple(parts)))
        return self._strips[0]

    def _cut(self, indexes: Sequence[int], window: Window) -> Pixels:
        rows = slice(window.row - self.row, window.row - self.row + window.height)
        cols = slice(window.col - self.col, window.col - self.col + window.width)
        return self._pixels(indexes, self._load([self.planes[i - 1][rows, cols] for i in indexes]))

    def _load(self, parts: Sequence[Any]) -> Sequence[NDArray[Any]]:
        """Numbers of lazy parts, of all of them at once."""
        try:
            if any(map(_is_dask, parts)):
                dask: Any = importlib.import_module("dask")
                return [np.asarray(part) for part in dask.compute(*parts)]
            return [np.asarray(part) for part in parts]
        except (DeoError, MemoryError):
            raise
        except Exception as error:  # whatever the readers behind a lazy array raise
            raise SceneError(
                f"{self.path}: its numbers cannot be loaded: {type(error).__name__}: {error}"
            ) from error

    def sample(
        self, indexes: Sequence[int], height: int, width: int, extent: Extent | None = None
    ) -> Pixels:
        """Of a large image small windows spread evenly, side by side: whatever its chunks are."""
        extent = extent or self.grid.extent
        pixels = (extent.bottom - extent.top) * (extent.right - extent.left)
        if pixels > _THINNED:
            cut = partial(self._cut, indexes)
            spots = _SPOTS
            return lattice(
                cut, extent, bands=len(indexes), height=height, width=width, across=spots
            )
        read = partial(self.read, indexes)
        return thin_image(read, extent, bands=len(indexes), height=height, width=width)

    def _pixels(self, indexes: Sequence[int], parts: Sequence[NDArray[Any]]) -> Pixels:
        values = np.empty((len(parts), *parts[0].shape), np.float32)
        valid = np.ones(parts[0].shape, np.bool_)
        for plane, stored, index in zip(values, parts, indexes, strict=True):
            with np.errstate(over="ignore"):  # beyond float32: not finite, not valid
                plane[...] = stored
            nodata = self.nodatas[index - 1]
            if nodata is not None and not math.isnan(nodata):
                valid &= stored != (
                    stored.dtype.type(nodata) if stored.dtype.kind == "f" else nodata
                )
            if stored.dtype.kind == "f":
                finite = np.isfinite(plane)
                valid &= finite
                plane[~finite] = 0
        return Pixels(values, valid)

    def mask_source(self, indexes: Sequence[int]) -> str:
        said: dict[str, None] = {}
        for index in indexes:
            nodata = self.nodatas[index - 1]
            if nodata is not None and not math.isnan(nodata):
                said[f"nodata {nodata:g}"] = None
            if is_floating(self.dtypes[index - 1]):
                said["numbers that are not finite"] = None
        return ", ".join(said)

    def close(self) -> None:
        """Give up the rows that are held."""
        self._strips.clear()


def _is_dask(array: Any) -> bool:
    if "dask" not in sys.modules:  # then nothing can be one of its arrays
        return False
    return bool(importlib.import_module("dask.base").is_dask_collection(array))
