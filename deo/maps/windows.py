"""Where tiles lie on a raster and how much each weighs in the blend. Integer maths, no files.

Tiles along one axis are spread evenly, every start on the coarsest feature grid, so that one
tile's feature cells fall exactly on another's. The last tile is moved inwards instead of being
padded; only a raster whose length is no multiple of the grid reaches past its end, by less than
one cell.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError
from deo.scene.window import Window

DEFAULT_TILE = 384


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Tiles along one side of a raster.

    Args:
        length: pixels of the raster along this side.
        tile: pixels of every tile; may exceed `length`, by less than one grid cell.
        starts: first pixel of each tile, ascending.
    """

    length: int
    tile: int
    starts: tuple[int, ...]

    def touching(self, start: int, stop: int) -> range:
        """The tiles that hold some of the pixels from `start` on, before `stop`."""
        return range(bisect_right(self.starts, start - self.tile), bisect_left(self.starts, stop))

    def finished_by(self, index: int) -> range:
        """The pixels of tile `index` that no later tile holds."""
        later = self.starts[index + 1 : index + 2] or (self.length,)
        return range(self.starts[index], later[0])

    def weights(self, index: int, stride: int) -> NDArray[np.float32]:
        """Blend weight of tile `index` in each of its cells of `stride` pixels, shape (cells,).

        Over the overlap of two neighbours the weights are the two halves of a raised cosine,
        taken at cell centres. Over all tiles they sum to one in every cell, and a cell seen by
        one tile alone weighs exactly one: the blend needs no division.
        """
        first = self.starts[index] // stride
        cells = self.tile // stride
        total = np.zeros(cells)
        nearest = bisect_right(self.starts, self.starts[index] - self.tile)
        beyond = bisect_left(self.starts, self.starts[index] + self.tile)
        for other in range(nearest, beyond):
            shift = first - self.starts[other] // stride
            low, high = max(shift, 0), min(cells, cells + shift)
            total[low - shift : high - shift] += self._taper(other, stride)[low:high]
        return (self._taper(index, stride) / total).astype(np.float32)

    def _taper(self, index: int, stride: int) -> NDArray[np.float64]:
        centres = (np.arange(self.tile // stride) + 0.5) * stride
        taper = np.ones_like(centres)
        if index > 0:
            overlap = self.starts[index - 1] + self.tile - self.starts[index]
            inside = centres < overlap
            taper[inside] *= np.sin(0.5 * math.pi * centres[inside] / overlap) ** 2
        if index + 1 < len(self.starts):
            overlap = self.starts[index] + self.tile - self.starts[index + 1]
            left = self.tile - centres
            inside = left < overlap
            taper[inside] *= np.sin(0.5 * math.pi * left[inside] / overlap) ** 2
        return taper


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Tiles over a whole raster, in rows of tiles from the top.

    `overlap` is what was asked for, in pixels; neighbours may share more, never less.
    """

    rows: Axis
    cols: Axis
    overlap: int

    def __iter__(self) -> Iterator[Window]:
        for row in range(len(self.rows.starts)):
            yield from self.row_of_tiles(row)

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.cols.starts)

    @property
    def raster(self) -> Window:
        """All pixels that are covered."""
        return Window(row=0, col=0, height=self.rows.length, width=self.cols.length)

    def window(self, row: int, col: int) -> Window:
        """The tile at a row and a column of tiles."""
        return Window(
            row=self.rows.starts[row],
            col=self.cols.starts[col],
            height=self.rows.tile,
            width=self.cols.tile,
        )

    def row_of_tiles(self, row: int) -> tuple[Window, ...]:
        """The tiles of one row, left to right."""
        return tuple(self.window(row, col) for col in range(len(self.cols.starts)))

    def finished_rows(self, start: int, stop: int) -> Window:
        """The pixels, over the whole width, that rows of tiles from `start` to `stop` finish."""
        row = self.rows.starts[start]
        end = self.rows.finished_by(stop - 1).stop
        return Window(row=row, col=0, height=end - row, width=self.cols.length)


def default_tile(multiple: int, near: int = DEFAULT_TILE) -> int:
    """The multiple of `multiple` nearest to `near`; the larger of two equally near."""
    return max(1, (2 * near + multiple) // (2 * multiple)) * multiple


def default_overlap(tile: int, stride: int) -> int:
    """A quarter of the tile, rounded up to whole strides, and less than the tile."""
    return max(0, min(-(-tile // (4 * stride)) * stride, tile - stride))


def tiles(*, height: int, width: int, tile: int, overlap: int, multiple: int) -> Tiling:
    """Cover a raster with tiles.

    Args:
        height, width: of the raster, in pixels.
        tile: side of a tile, in pixels: a multiple of `multiple`.
        overlap: pixels that neighbours share at the least: a multiple of `multiple` below `tile`.
        multiple: the coarsest feature stride; every tile starts on this grid, and a raster
            shorter than a tile gets one tile of its own length rounded up to it.

    Raises:
        ConfigError: a size that cannot work; the message names one that does.
    """
    if height < 1 or width < 1:
        raise ConfigError(f"a raster of {height} x {width} pixels has nothing to cover")
    if tile < multiple or tile % multiple:
        near = default_tile(multiple, max(tile, multiple))
        raise ConfigError(
            f"tile of {tile} pixels is no multiple of the model's stride {multiple}; try {near}"
        )
    if overlap < 0 or overlap % multiple or overlap >= tile:
        near = min(default_tile(multiple, max(overlap, 0)), tile - multiple)
        raise ConfigError(
            f"overlap of {overlap} pixels must be a multiple of the model's stride {multiple} "
            f"from 0 to {tile - multiple}; try {near}"
        )
    return Tiling(
        rows=_axis(height, tile, overlap, multiple),
        cols=_axis(width, tile, overlap, multiple),
        overlap=overlap,
    )


def _axis(length: int, tile: int, overlap: int, multiple: int) -> Axis:
    if length <= tile:
        return Axis(length=length, tile=-(-length // multiple) * multiple, starts=(0,))
    last = -(-(length - tile) // multiple)
    steps = -(-last * multiple // (tile - overlap))
    starts = tuple(index * last // steps * multiple for index in range(steps + 1))
    return Axis(length=length, tile=tile, starts=starts)
