"""Planes that are cut before they are loaded."""

from typing import Any

import numpy as np
import pytest
from affine import Affine

from deo.errors import SceneError
from deo.scene import plane_source
from deo.scene.grid import Grid
from deo.scene.plane_source import PlaneSource
from deo.scene.window import Window

array = pytest.importorskip("dask.array")

RNG = np.random.default_rng(3)
VALUES = RNG.integers(0, 5000, (2, 40, 50)).astype(np.uint16)


def source(planes: Any, *, nodata: float | None = None, row: int = 0, col: int = 0) -> PlaneSource:
    return PlaneSource(
        path="planes",
        planes=tuple(planes),
        dtypes=tuple(np.dtype(plane.dtype).name for plane in planes),
        nodatas=(nodata,) * len(planes),
        grid=Grid(height=40, width=50, crs=None, transform=Affine.identity()),
        row=row,
        col=col,
    )


def test_read__numpy_and_dask_alike() -> None:
    held, lazy = source(VALUES), source(array.from_array(VALUES, chunks=(1, 7, 16)))
    for window in (
        Window(row=0, col=0, height=40, width=50),
        Window(row=11, col=3, height=9, width=20),
    ):
        one, other = held.read([2, 1], window), lazy.read([2, 1], window)
        assert np.array_equal(one.values, VALUES[::-1, *window.slices])
        assert np.array_equal(one.values, other.values)
        assert one.valid.all()
        assert other.valid.all()


def test_read__a_part_by_the_pixels_of_the_whole() -> None:
    part = source(VALUES[:, 10:30, 5:45], row=10, col=5)
    window = Window(row=12, col=6, height=4, width=5)
    assert np.array_equal(part.read([1], window).values[0], VALUES[0][window.slices])


def test_read__marks_nodata_and_what_is_not_finite() -> None:
    values = VALUES.astype(np.float64)
    values[0, 0, 0], values[1, 0, 1], values[1, 0, 2] = np.nan, -1, 1e300
    values, valid = source(values, nodata=-1).read([1, 2], Window(row=0, col=0, height=2, width=4))
    assert valid.sum() == 5
    assert not valid[0, :3].any()
    assert np.isfinite(values).all()


def test_read__loads_rows_of_dask_once_for_overlapping_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads = 0

    def load(block: Any) -> Any:
        nonlocal loads
        loads += block.size > 0  # Dask tries it on nothing first
        return block

    lazy = array.from_array(VALUES, chunks=(1, 20, 50)).map_blocks(load, dtype=VALUES.dtype)
    tiles = [Window(row=0, col=col, height=20, width=20) for col in (0, 10, 20, 30)]
    reader = source(lazy)
    for tile in tiles:
        reader.read([1, 2], tile)
    assert loads == 4  # two bands of two rows of chunks fit together
    monkeypatch.setattr(plane_source, "_HELD", 20 * 50 * 2 * 2)
    narrow, loads = source(lazy), 0
    for tile in tiles:
        narrow.read([1, 2], tile)
    assert loads == 2


def test_sample__is_the_same_for_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane_source, "_THINNED", 1000)
    one = source(VALUES).sample([1], 16, 16)
    for chunks in ((1, 7, 9), (2, 40, 50)):
        other = source(array.from_array(VALUES, chunks=chunks)).sample([1], 16, 16)
        assert np.array_equal(one.values, other.values)
    assert one.values.shape == (1, 16, 16)
    assert len(np.unique(one.values)) > 200


def test_digest__changes_with_the_numbers() -> None:
    other = VALUES.copy()
    other[1, 3, 4] += 1
    assert source(VALUES).digest == source(VALUES.copy()).digest != source(other).digest
    lazy = array.from_array(VALUES)
    assert source(lazy).digest == source(lazy).digest != source(lazy + 1).digest


def test_load__says_what_a_reader_said() -> None:
    def fail(block: Any) -> Any:
        raise OSError("the disk is gone")

    lazy = array.from_array(VALUES, chunks=(1, 20, 50)).map_blocks(fail, dtype=VALUES.dtype)
    with pytest.raises(SceneError, match="cannot be loaded: OSError: the disk is gone"):
        source(lazy).read([1], Window(row=0, col=0, height=2, width=2))
