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
        row: first row, in cells.
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
    """The rows of one layer that some tile has yet to add to: one row of tiles at most."""

    def __init__(self, *, layer: int, channels: int, stride: int, tiling: Tiling) -> None:
        self.layer, self.stride, self.tiling = layer, stride, tiling
        rows = tiling.rows.tile // stride
        cols = (tiling.cols.starts[-1] + tiling.cols.tile) // stride
        self.height = -(-tiling.rows.length // stride)
        self.width = -(-tiling.cols.length // stride)
        self._values = np.zeros((rows, channels, cols), np.float32)
        self._valid = np.zeros((rows, cols), np.float32)
        self._down = [tiling.rows.weights(i, stride) for i in range(len(tiling.rows.starts))]
        self._across = {
            start: tiling.cols.weights(i, stride) for i, start in enumerate(tiling.cols.starts)
        }

    def add(self, index: int, window: Window, features: NDArray[np.float32]) -> None:
        """Add a tile of tile row `index`: features (channels, rows, cols), weighted."""
        weights = self._down[index][:, None, None] * self._across[window.col]
        first = window.col // self.stride
        place = self._values[:, :, first : first + features.shape[2]]
        place += features.transpose(1, 0, 2) * weights

    def mark(self, window: Window, valid: NDArray[np.bool_]) -> None:
        """Note which pixels (rows, cols) of a tile are valid."""
        fractions = cell_fractions(valid, self.stride)
        first = window.col // self.stride
        self._valid[:, first : first + fractions.shape[1]] = fractions

    def finish(self, index: int) -> RowBlock:
        """Take out the rows that no tile below tile row `index` adds to."""
        starts = self.tiling.rows.starts
        row = starts[index] // self.stride
        end = starts[index + 1] // self.stride if index + 1 < len(starts) else self.height
        rows = end - row
        values = self._values[:rows, :, : self.width].copy()
        valid = self._valid[:rows, : self.width].copy()
        values.transpose(0, 2, 1)[valid == 0] = np.nan
        for open_rows in (self._values, self._valid):
            kept = open_rows[rows:].copy()
            open_rows[: len(kept)] = kept
            open_rows[len(kept) :] = 0
        return RowBlock(layer=self.layer, row=row, values=values, valid=valid)
