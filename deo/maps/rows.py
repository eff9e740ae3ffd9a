"""Finished rows of a map: how large a map is, and how its rows are read a few at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.errors import OutputError

ITEM = np.dtype("<f4")
"""What a number is on disk."""


class Shape(NamedTuple):
    """Size of one layer's map: channels, and rows and columns in cells."""

    channels: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        return self.height * self.width

    @property
    def bytes(self) -> int:
        """On disk: values and valid fractions."""
        return (self.channels + 1) * self.cells * ITEM.itemsize


class RowReader(Protocol):
    """A finished map that can be read a few rows at a time."""

    @property
    def shape(self) -> Shape: ...

    def values(
        self, start: int, stop: int, channels: slice = slice(None)
    ) -> NDArray[np.float32]: ...

    def valid(self, start: int, stop: int) -> NDArray[np.float32]: ...

    def blocks(self, budget: int = ...) -> Iterator[tuple[int, NDArray[np.float32]]]: ...


class Rows:
    """One layer's finished map, read a few rows at a time; nothing is kept in memory."""

    def __init__(self, values: Path, valid: Path, shape: Shape) -> None:
        self.shape = shape
        self._values_path, self._valid_path = values, valid

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        """Rows `start` to `stop` of some channels: (rows, channels, width), NaN = nodata."""
        first, end, _ = channels.indices(self.shape.channels)
        row = self.shape.channels * self.shape.width
        out = np.empty((stop - start, end - first, self.shape.width), ITEM)
        with self._values_path.open("rb") as file:
            for index in range(stop - start):
                file.seek(((start + index) * row + first * self.shape.width) * ITEM.itemsize)
                if file.readinto(memoryview(out[index]).cast("B")) != out[index].nbytes:
                    raise OutputError(f"{self._values_path} ends early; start again without resume")
        return out

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        """Valid fraction of each cell in rows `start` to `stop`: (rows, width)."""
        count = (stop - start) * self.shape.width
        offset = start * self.shape.width * ITEM.itemsize
        flat = np.fromfile(self._valid_path, ITEM, count, offset=offset)
        return flat.reshape(stop - start, self.shape.width)

    def blocks(self, budget: int = 32 * 2**20) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, values) from the top, in blocks of about `budget` bytes."""
        row = self.shape.channels * self.shape.width * ITEM.itemsize
        step = max(1, budget // row)
        for start in range(0, self.shape.height, step):
            yield start, self.values(start, min(start + step, self.shape.height))
