"""Tiles against arrays in memory, at every level and for every kind of output."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deo.explorer.levels import block_means
from deo.explorer.tile import SIDE

Make = Callable[..., Any]


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_tile__is_what_is_stored_there(
    synthetic: Make, write_map: Make, opened: Make, name: str
) -> None:
    data = synthetic(300, 530, 3)
    data[1, 260, 520] = np.nan
    levels = opened(write_map(data, name))
    tile = levels.tile(0, 1, 2)
    wanted = data[:, SIDE:, 2 * SIDE :]
    assert (tile.height, tile.width) == wanted.shape[1:]
    known = np.isfinite(wanted).all(axis=0)
    np.testing.assert_array_equal(tile.known, np.flatnonzero(known))
    np.testing.assert_array_equal(tile.vectors, wanted[:, known].T)
    np.testing.assert_allclose(tile.lengths, np.linalg.norm(wanted[:, known], axis=0), rtol=1e-6)
    laid = tile.laid_out(tile.vectors)
    np.testing.assert_array_equal(laid.transpose(2, 0, 1)[:, known], wanted[:, known])
    assert np.isnan(laid[~known]).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_levels__are_means_alike_from_overviews_and_computed(
    synthetic: Make, write_map: Make, opened: Make, dtype: str
) -> None:
    data = synthetic(40, 1100, 2)
    from_overviews = opened(write_map(data, "a.tif", dtype=dtype))
    computed = opened(write_map(data, "a.zarr", dtype=dtype))
    assert from_overviews.highest == computed.highest == 2
    assert from_overviews.size(2) == (10, 275)
    one, other = from_overviews.tile(2, 0, 0), computed.tile(2, 0, 0)
    np.testing.assert_array_equal(one.known, other.known)
    wanted = block_means(data[:, :, : 4 * SIDE], 4).reshape(2, -1)[:, other.known].T
    atol = 1e-6 if dtype == "float32" else 0.11  # a step of int8, which overviews round to again
    np.testing.assert_allclose(other.vectors, wanted, atol=max(atol / 2, 1e-6))
    np.testing.assert_allclose(one.vectors, wanted, atol=atol)


def test_block_means__leave_out_what_is_missing() -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    values[0, 0, :2] = np.nan
    values[0, :2, 2:] = np.nan
    means = block_means(values, 2)[0]
    np.testing.assert_array_equal(means, [[4.5, np.nan], [8.5, 10.5]])


def test_tiles__are_dropped_beyond_the_budget_and_read_again(
    synthetic: Make, write_map: Make, opened: Make
) -> None:
    data = synthetic(520, 1030, 2)
    levels = opened(write_map(data), budget=1)
    first = levels.tile(0, 0, 0).vectors.copy()
    levels.tile(0, 0, 2)
    levels.tile(0, 2, 4)
    assert (0, 0, 0) not in levels._tiles
    np.testing.assert_array_equal(levels.tile(0, 0, 0).vectors, first)


def test_vector__is_that_of_a_cell(synthetic: Make, write_map: Make, opened: Make) -> None:
    data = synthetic(270, 300)
    levels = opened(write_map(data))
    np.testing.assert_array_equal(levels.vector(260, 299), data[:, 260, 299])
    assert levels.vector(1, 5) is None


def test_sample__holds_cells_of_the_map_with_their_places(
    synthetic: Make, write_map: Make, opened: Make
) -> None:
    data = synthetic(290, 400)
    sample = opened(write_map(data)).sample()
    assert 4000 < len(sample.vectors) < 2**14
    np.testing.assert_array_equal(sample.vectors, data[:, sample.rows, sample.columns].T)
