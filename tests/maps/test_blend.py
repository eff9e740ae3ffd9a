"""The blend of tiles that overlap, cell by cell."""

import numpy as np
import pytest

from deo.maps.blend import Canvas, cell_fractions
from deo.maps.windows import Tiling, tiles
from deo.scene.window import Window


def filled(tiling: Tiling, window: Window, *, stride: int = 4) -> list[np.ndarray]:
    """The finished rows of a canvas to which each tile adds the number of its place."""
    canvas = Canvas(layer=0, channels=2, stride=stride, tiling=tiling, window=window)
    blocks = []
    cells = tiling.rows.tile // stride
    for row in tiling.rows.touching(window.row, window.row + window.height):
        for column in tiling.cols.touching(window.col, window.col + window.width):
            number = np.float32(1 + row * len(tiling.cols.starts) + column)
            canvas.add(row, column, np.full((2, cells, cells), number, np.float32))
            canvas.mark(column, np.ones((tiling.rows.tile, tiling.cols.tile), np.bool_))
        blocks.append(canvas.finish(row).values)
    return blocks


def test_cell_fractions__count_the_valid_pixels_of_a_cell() -> None:
    valid = np.zeros((4, 8), np.bool_)
    valid[:2, :2] = valid[:, 4:] = True
    np.testing.assert_array_equal(cell_fractions(valid, 4), np.float32([[0.25, 1]]))


def test_canvas__is_the_weighted_sum_of_the_tiles() -> None:
    tiling = tiles(height=56, width=40, tile=32, overlap=8, multiple=4)
    wanted = np.zeros((14, 10))
    for row, top in enumerate(tiling.rows.starts):
        for column, left in enumerate(tiling.cols.starts):
            weights = np.outer(tiling.rows.weights(row, 4), tiling.cols.weights(column, 4))
            number = 1 + row * len(tiling.cols.starts) + column
            wanted[top // 4 : top // 4 + 8, left // 4 : left // 4 + 8] += number * weights
    values = np.concatenate(filled(tiling, tiling.raster))
    np.testing.assert_allclose(values[:, 0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(values[:, 0], values[:, 1])


@pytest.mark.parametrize(
    "window",
    [
        Window(row=0, col=0, height=8, width=8),
        Window(row=28, col=20, height=12, width=19),
        Window(row=52, col=0, height=5, width=39),
    ],
)
def test_canvas__a_window_has_the_bits_of_the_whole(window: Window) -> None:
    tiling = tiles(height=57, width=39, tile=32, overlap=8, multiple=4)
    whole = np.concatenate(filled(tiling, tiling.raster))
    part = np.concatenate(filled(tiling, window))
    rows = slice(window.row // 4, -(-(window.row + window.height) // 4))
    cols = slice(window.col // 4, -(-(window.col + window.width) // 4))
    np.testing.assert_array_equal(part, whole[rows, :, cols])


def test_canvas__cells_without_a_valid_pixel_are_nan() -> None:
    tiling = tiles(height=32, width=32, tile=32, overlap=0, multiple=4)
    canvas = Canvas(layer=3, channels=1, stride=4, tiling=tiling, window=tiling.raster)
    valid = np.ones((32, 32), np.bool_)
    valid[:8, :4] = False
    canvas.add(0, 0, np.ones((1, 8, 8), np.float32))
    canvas.mark(0, valid)
    block = canvas.finish(0)
    assert (block.layer, block.row) == (3, 0)
    assert np.isnan(block.values[:2, 0, 0]).all()
    assert np.isnan(block.values).sum() == 2
    np.testing.assert_array_equal(block.valid == 0, np.isnan(block.values[:, 0]))
