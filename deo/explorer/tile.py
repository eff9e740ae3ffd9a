"""A square of cells, with the features of those that hold any side by side."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 256
"""Side of a tile in cells of its level."""


class Tile(NamedTuple):
    """Part of a map at one level.

    Args:
        height, width: in cells of the level.
        known: which of them hold features, as positions in the flattened tile, (n,).
        vectors: those features, (n, channels) float32.
        lengths: the Euclidean length of each, (n,).
    """

    height: int
    width: int
    known: NDArray[np.intp]
    vectors: NDArray[np.float32]
    lengths: NDArray[np.float32]

    def laid_out(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the known cells (n,) or (n, k) as (height, width[, k]); NaN elsewhere."""
        out = np.full((self.height * self.width, *values.shape[1:]), np.nan, np.float32)
        out[self.known] = values
        return out.reshape(self.height, self.width, *values.shape[1:])


def tile_of(values: NDArray[np.float32]) -> Tile:
    """Of features (channels, height, width), NaN = nodata."""
    channels, height, width = values.shape
    cells = values.reshape(channels, -1)
    known = np.flatnonzero(np.isfinite(cells).all(axis=0))
    vectors = np.ascontiguousarray(cells.T if len(known) == height * width else cells.T[known])
    lengths = np.sqrt(np.einsum("nc,nc->n", vectors, vectors))
    return Tile(height, width, known, vectors, lengths)
