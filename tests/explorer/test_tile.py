"""Known cells are packed, and laid out again where they were."""

import numpy as np

from deo.explorer.tile import tile_of


def test_tile__packs_known_cells_and_lays_them_out_again() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values[1, 0, 2] = values[0, 2, 3] = np.nan
    tile = tile_of(values)
    assert tile.known.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(tile.vectors[2], values[:, 0, 3])
    np.testing.assert_allclose(tile.lengths[2] ** 2, (values[:, 0, 3] ** 2).sum(), rtol=1e-6)
    laid = tile.laid_out(tile.vectors[:, 0])
    assert np.isnan(laid[0, 2])
    assert np.isnan(laid[2, 3])
    assert laid[1, 2] == values[0, 1, 2]


def test_tile__of_known_cells_alone_is_contiguous() -> None:
    tile = tile_of(np.ones((5, 2, 2), np.float32))
    assert tile.vectors.flags.c_contiguous
    assert tile.vectors.shape == (4, 5)
