"""What stored numbers come from: the protocol of a source, and an array in memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import Pixels
from deo.scene.grid import Extent, Grid
from deo.scene.window import Window


def is_floating(dtype: str) -> bool:
    """Whether numbers of a type, by its name, are floating-point."""
    return np.dtype(dtype).kind == "f"


class Source(Protocol):
    """Bands of stored numbers on one grid. Indexes count from 1."""

    @property
    def path(self) -> str: ...

    @property
    def label(self) -> str:
        """The path as it may be shown: an address without its query and password."""

    @property
    def grid(self) -> Grid: ...

    @property
    def dtypes(self) -> tuple[str, ...]: ...

    @property
    def spectral(self) -> int:
        """How many bands there are, alpha aside."""

    def read(self, indexes: Sequence[int], window: Window) -> Pixels:
        """Stored numbers as float32, and where all of the bands are valid."""

    def sample(
        self, indexes: Sequence[int], height: int, width: int, extent: Extent | None = None
    ) -> Pixels:
        """An extent, None the whole, thinned to height x width pixels."""

    def mask_source(self, indexes: Sequence[int]) -> str: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ArraySource:
    """An array (C, H, W) in memory with an optional mask (True = valid)."""

    path: str
    array: NDArray[Any]
    valid: NDArray[np.bool_] | None
    grid: Grid
    nodata: float | None

    @property
    def label(self) -> str:
        return self.path

    @property
    def dtypes(self) -> tuple[str, ...]:
        return (self.array.dtype.name,) * len(self.array)  # whatever the order of its bytes

    @property
    def spectral(self) -> int:
        return len(self.array)

    def read(self, indexes: Sequence[int], window: Window) -> Pixels:
        return self._take(indexes, *window.slices)

    def sample(
        self, indexes: Sequence[int], height: int, width: int, extent: Extent | None = None
    ) -> Pixels:
        top, left, bottom, right = extent or self.grid.extent
        rows = (top + np.arange(height) * (bottom - top) / height).astype(np.intp)
        cols = (left + np.arange(width) * (right - left) / width).astype(np.intp)
        return self._take(indexes, rows[:, None], cols)

    def _take(self, indexes: Sequence[int], rows: Any, cols: Any) -> Pixels:
        stored = [self.array[index - 1][rows, cols] for index in indexes]
        valid = np.ones(stored[0].shape, np.bool_)
        if self.valid is not None:
            valid &= self.valid[rows, cols]
        values = np.empty((len(stored), *valid.shape), np.float32)
        for plane, numbers in zip(values, stored, strict=True):
            with np.errstate(over="ignore"):  # beyond float32 or float16: not finite, not valid
                plane[...] = numbers
                nodata = self.nodata
                if nodata is not None and numbers.dtype.kind == "f":
                    nodata = numbers.dtype.type(nodata)
            if nodata is not None and not math.isnan(nodata):
                valid &= numbers != nodata
            if numbers.dtype.kind == "f":
                finite = np.isfinite(plane)
                valid &= finite
                plane[~finite] = 0
        return Pixels(values, valid)

    def mask_source(self, indexes: Sequence[int]) -> str:
        said = []
        if self.valid is not None:
            said.append("mask of the array")
        if self.nodata is not None:
            said.append(f"nodata {self.nodata:g}")
        if self.array.dtype.kind == "f":
            said.append("numbers that are not finite")
        return ", ".join(said)

    def close(self) -> None:
        """Nothing is held open."""
