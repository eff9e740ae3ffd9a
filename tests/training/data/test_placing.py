"""Where the pixels of one grid lie on another."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from deo.errors import DataError
from deo.scene.grid import Grid
from deo.training.data.placing import place

NORTH_UP = Affine(10, 0, 500000, 0, -10, 5000000)


@given(
    rows=st.integers(-30, 30), cols=st.integers(-30, 30), flip=st.booleans(), size=st.integers(1, 9)
)
@settings(max_examples=60, deadline=None)
def test_place__whole_pixels_are_exact(rows: int, cols: int, flip: bool, size: int) -> None:
    crs = CRS.from_epsg(32633)
    own = Grid(height=7, width=5, crs=crs, transform=NORTH_UP)
    moved = NORTH_UP @ Affine.translation(cols, rows)
    if flip:
        moved = moved @ Affine.translation(0, size) @ Affine.scale(1, -1)
    other = Grid(height=size, width=size + 1, crs=crs, transform=moved)
    wanted = {
        (row, col): (size - 1 - (row - rows) if flip else row - rows, col - cols)
        for row in range(7)
        for col in range(5)
        if 0 <= row - rows < size and 0 <= col - cols < size + 1
    }
    if not wanted:
        with pytest.raises(DataError, match="do not overlap"):
            place(own, other, label="mask")
        return
    there = place(own, other, label="mask")
    if there is None:
        assert (rows, cols, other.height, other.width) == (0, 0, 7, 5)
        return
    inside = {tuple(map(int, at)) for at in np.argwhere(there.inside)}
    assert inside == set(wanted)
    for at, (row, col) in wanted.items():
        assert (there.rows[at], there.cols[at]) == (row, col)
