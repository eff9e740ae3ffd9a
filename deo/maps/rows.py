"""Finished rows of a map: how large a map is, and how its rows are read a few at a time."""

import itertools
from collections.abc import Iterator, Sequence
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

    def blocks(self, budget: int = 32 * 2**20) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, values) from the top, in blocks of about `budget` bytes."""
        row = self.shape.channels * self.shape.width * ITEM.itemsize
        step = max(1, budget // row)
        for start in range(0, self.shape.height, step):
            yield start, self.values(start, min(start + step, self.shape.height))


class CellRows(RowReader):
    """A map in memory, (channels, height, width) float32, NaN = nodata."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self._array = array

    @property
    def shape(self) -> Shape:
        return Shape(*self._array.shape)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        """(rows, channels, width)."""
        return self._array[channels, start:stop].transpose(1, 0, 2)

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        """1 where the first channel is finite: (rows, width)."""
        return np.isfinite(self._array[0, start:stop]).astype(np.float32)


class Rows(RowReader):
    """One layer's finished map, read a few rows at a time; nothing is kept in memory."""

    def __init__(self, values: Path, valid: Path, shape: Shape) -> None:
        self._shape = shape
        self._values_path, self._valid_path = values, valid

    @property
    def shape(self) -> Shape:
        return self._shape

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


class JoinedRows(RowReader):
    """Maps of one width, each below the one before, read as one."""

    def __init__(self, parts: Sequence[RowReader]) -> None:
        self._parts = parts
        self._tops = [0, *itertools.accumulate(part.shape.height for part in parts)]
        self._shape = parts[0].shape._replace(height=self._tops[-1])

    @property
    def shape(self) -> Shape:
        return self._shape

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        return np.concatenate(
            [part.values(first, end, channels) for part, first, end in self._cut(start, stop)]
        )

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.concatenate(
            [part.valid(first, end) for part, first, end in self._cut(start, stop)]
        )

    def _cut(self, start: int, stop: int) -> Iterator[tuple[RowReader, int, int]]:
        """The parts that hold some of the rows, each with its own first and end."""
        for part, top in zip(self._parts, self._tops, strict=False):
            first, end = max(start - top, 0), min(stop - top, part.shape.height)
            if first < end:
                yield part, first, end
