"""Values carried onto another grid: the stated kernel, and no window that changes a bit."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from deo.bands import Pixels
from deo.scene.grid import Grid, Line, relate
from deo.scene.resample import resample, taps

FINE = Grid(height=60, width=48, crs="A", transform=Affine(10, 0, 500, 0, -10, 900))


def grid(size: float, *, right: float = 0, down: float = 0, **changes: object) -> Grid:
    """A grid over FINE's extent in pixels of `size`, moved by metres."""
    fields: dict = {
        "height": int(600 / size),
        "width": int(480 / size),
        "crs": "A",
        "transform": Affine(size, 0, 500 + right, 0, -size, 900 - down),
    }
    return Grid(**(fields | changes))


def slow(values: np.ndarray, line: Line, count: int) -> np.ndarray:
    """One axis of the kernels, pixel by pixel in float64."""
    length = len(values)
    out = np.zeros(count)
    for i in range(count):
        if line.scale > 1:
            low, high = line.scale * i + line.shift, line.scale * (i + 1) + line.shift
            shares = [max(0, min(k + 1, high) - max(k, low)) for k in range(length)]
            out[i] = np.dot(shares, values) / sum(shares)
        else:
            centre = line.scale * (i + 0.5) + line.shift - 0.5
            low = int(np.floor(centre + 1e-9))
            part = centre - low
            pick = [min(max(k, 0), length - 1) for k in (low, low + 1)]
            out[i] = values[pick[0]] * (1 - part) + values[pick[1]] * part
    return out


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([1 / 6, 1 / 3, 1 / 2, 1.0, 1.5, 2.0, 3.0, 6.0]),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_taps__are_the_stated_kernel(scale: float, shift: int, seed: int) -> None:
    line = Line(scale, float(shift))
    length = 24
    count = int((length - shift) / scale)
    values = np.random.default_rng(seed).uniform(0, 100, length)
    axis = taps(line, 0, count, length)
    column = values[axis.start : axis.stop, None].astype(np.float32)
    done = resample(
        Pixels(column[None], np.ones(column.shape, bool)), axis, taps(Line(1.0, 0.0), 0, 1, 1)
    )
    np.testing.assert_allclose(done.values[0, :, 0], slow(values, line, count), rtol=1e-5)
    assert done.valid.all()


@settings(max_examples=30, deadline=None)
@given(data=st.data(), size=st.sampled_from([20.0, 60.0, 10.0, 5.0, 2.5]))
def test_resample__a_window_equals_the_crop_of_the_whole(data: st.DataObject, size: float) -> None:
    other = grid(size)
    relation = relate(FINE, other, label="x")
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 9000, (2, other.height, other.width)).astype(np.float32)
    valid = rng.random((other.height, other.width)) > 0.2
    row, col = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 47))
    height, width = data.draw(st.integers(1, 60 - row)), data.draw(st.integers(1, 48 - col))

    def cut(row: int, col: int, height: int, width: int) -> Pixels:
        rows = taps(relation.rows, row, height, other.height)
        cols = taps(relation.cols, col, width, other.width)
        box = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
        return resample(Pixels(values[:, *box], valid[box]), rows, cols)

    whole, part = cut(0, 0, 60, 48), cut(row, col, height, width)
    box = slice(row, row + height), slice(col, col + width)
    np.testing.assert_array_equal(part.valid, whole.valid[box])
    np.testing.assert_array_equal(part.values[:, part.valid], whole.values[:, *box][:, part.valid])


@pytest.mark.parametrize("size", [20.0, 60.0, 5.0])
def test_resample__a_plane_stays_a_plane_and_holes_do_not_bleed(size: float) -> None:
    other = grid(size)
    y, x = np.mgrid[: other.height, : other.width]
    plane = (1000 + 3 * (x + 0.5) * size + 2 * (y + 0.5) * size).astype(np.float32)
    valid = np.ones(plane.shape, bool)
    valid[0, 0] = False
    plane[0, 0] = 1e9
    relation = relate(FINE, other, label="x")
    rows = taps(relation.rows, 0, 60, other.height)
    cols = taps(relation.cols, 0, 48, other.width)
    values, seen = resample(Pixels(plane[None], valid), rows, cols)
    y, x = np.mgrid[:60, :48]
    margin = int(np.ceil(size / 10)) * 2
    inner = np.s_[margin:-margin, margin:-margin]
    wanted = 1000 + 3 * (x + 0.5) * 10 + 2 * (y + 0.5) * 10
    np.testing.assert_allclose(values[0][inner], wanted[inner], rtol=1e-5)
    assert values[0][seen].max() < 5000
    half = max(1, int(size / 20))
    assert not seen[:half, :half].any() or size < 10
    assert seen[margin:, margin:].all()
