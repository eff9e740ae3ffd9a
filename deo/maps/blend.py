"""Feature maps of overlapping tiles -> finished rows of one map.

The weights of all tiles sum to one in every cell (see `windows.Axis.weights`), so a weighted sum
is the blend. Whether a cell holds any valid input is a fact of the input and the same in every
tile that sees it; cells that hold none become NaN, whatever the model made of them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.maps.windows import Tiling
from deo.scene.window import Window


class RowBlock(NamedTuple):
    """Finished rows of one layer's map.

    Args:
        layer: position of the layer in the model's list.
        row: first row, in cells of the whole map.
        values: (rows, channels, width); NaN where no input pixel is valid.
        valid: (rows, width), the valid fraction of each cell's pixels, 0..1.
    """

    layer: int
    row: int
    values: NDArray[np.float32]
    valid: NDArray[np.float32]


def cell_fractions(valid: NDArray[np.bool_], stride: int) -> NDArray[np.float32]:
    """Valid fraction per cell of `stride` x `stride` pixels: (..., H, W) -> (..., H/s, W/s)."""
    *batch, height, width = valid.shape
    cells = valid.reshape(*batch, height // stride, stride, width // stride, stride)
    counts = cells.sum(axis=(-3, -1), dtype=np.int32)
    fractions: NDArray[np.float32] = (counts / (stride * stride)).astype(np.float32)
    return fractions


class Canvas:
    """The rows of one layer that some tile has yet to add to: one row of tiles at most.

    Args:
        layer, channels, stride: of the map.
        tiling: over the whole raster.
        window: the pixels whose cells are wanted; it starts on a multiple of `stride`. Only tiles
            that hold some of them are added.
    """

    def __init__(
        self, *, layer: int, channels: int, stride: int, tiling: Tiling, window: Window
    ) -> None:
        self.layer, self.stride, self.tiling = layer, stride, tiling
        columns = tiling.cols.touching(window.col, window.col + window.width)
        self._left = tiling.cols.starts[columns[0]] // stride
        right = (tiling.cols.starts[columns[-1]] + tiling.cols.tile) // stride
        self._wanted_rows = _cells(window.row, window.height, stride)
        wanted = _cells(window.col, window.width, stride)
        self._wanted_columns = slice(wanted.start - self._left, wanted.stop - self._left)
        rows = tiling.rows.tile // stride
        self._values = np.zeros((rows, channels, right - self._left), np.float32)
        self._valid = np.zeros((rows, right - self._left), np.float32)
        touching = tiling.rows.touching(window.row, window.row + window.height)
        self._down = {row: tiling.rows.weights(row, stride) for row in touching}
        self._across = {column: tiling.cols.weights(column, stride) for column in columns}

    def add(self, row: int, column: int, features: NDArray[np.float32]) -> None:
        """Add the tile at a row and a column of tiles: features (channels, rows, cols), weighted.

        Float32 sums depend on their order: tiles are added row by row, from left to right.
        """
        weights = self._down[row][:, None, None] * self._across[column]
        self._place(self._values, column)[:] += features.transpose(1, 0, 2) * weights

    def mark(self, column: int, valid: NDArray[np.bool_]) -> None:
        """Note which pixels (rows, cols) of a tile are valid."""
        self._place(self._valid, column)[:] = cell_fractions(valid, self.stride)

    def finish(self, row: int) -> RowBlock:
        """Take out the rows that no tile below this row of tiles adds to, cut to the window."""
        pixels = self.tiling.rows.finished_by(row)
        first, rows = pixels.start // self.stride, -(-len(pixels) // self.stride)
        start = max(first, self._wanted_rows.start)
        stop = max(start, min(first + rows, self._wanted_rows.stop))
        part = slice(start - first, stop - first)
        values = self._values[part, :, self._wanted_columns].copy()
        valid = self._valid[part, self._wanted_columns].copy()
        values.transpose(0, 2, 1)[valid == 0] = np.nan
        for open_rows in (self._values, self._valid):
            kept = open_rows[rows:].copy()
            open_rows[: len(kept)] = kept
            open_rows[len(kept) :] = 0
        return RowBlock(layer=self.layer, row=start, values=values, valid=valid)

    def _place(self, open_rows: NDArray[np.float32], column: int) -> NDArray[np.float32]:
        """Where a tile lies among the open rows, a view."""
        first = self.tiling.cols.starts[column] // self.stride - self._left
        return open_rows[..., first : first + self.tiling.cols.tile // self.stride]


def _cells(first: int, pixels: int, stride: int) -> range:
    """The cells that hold a run of pixels."""
    return range(first // stride, -(-(first + pixels) // stride))
