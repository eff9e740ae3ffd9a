import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deo.errors import ConfigError
from deo.maps.windows import default_overlap, default_tile, tiles
from deo.scene.window import Window

CELLS = st.integers(1, 6)
grids = st.builds(
    lambda length, multiple, tile, overlap: (
        length,
        multiple,
        tile * multiple,
        min(overlap, tile - 1) * multiple,
    ),
    st.integers(1, 300),
    st.sampled_from([1, 4, 8, 32]),
    CELLS,
    st.integers(0, 5),
)


@given(grids)
@settings(max_examples=80, deadline=None)
def test_tiles__cover_exactly_on_the_grid_with_the_overlap(grid: tuple[int, int, int, int]) -> None:
    length, multiple, tile, overlap = grid
    axis = tiles(height=length, width=1, tile=tile, overlap=overlap, multiple=multiple).rows
    starts = np.array(axis.starts)
    assert starts[0] == 0
    assert not (starts % multiple).any()
    assert length <= starts[-1] + axis.tile < length + multiple
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= axis.tile - overlap).all()


@given(grids, st.sampled_from([1, 2, 4]))
@settings(max_examples=80, deadline=None)
def test_weights__sum_to_one_and_are_one_where_a_tile_is_alone(
    grid: tuple[int, int, int, int], finer: int
) -> None:
    length, multiple, tile, overlap = grid
    stride = max(1, multiple // finer)
    axis = tiles(height=length, width=1, tile=tile, overlap=overlap, multiple=multiple).rows
    total = np.zeros((axis.starts[-1] + axis.tile) // stride)
    seen = np.zeros_like(total)
    weights = [axis.weights(index, stride) for index in range(len(axis.starts))]
    for start, weight in zip(axis.starts, weights, strict=True):
        place = slice(start // stride, (start + axis.tile) // stride)
        total[place] += weight
        seen[place] += 1
        assert (weight > 0).all()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    for start, weight in zip(axis.starts, weights, strict=True):
        alone = seen[start // stride : (start + axis.tile) // stride] == 1
        assert (weight[alone] == 1).all()


def test_weights__rise_as_a_raised_cosine() -> None:
    axis = tiles(height=96, width=1, tile=64, overlap=32, multiple=4).rows
    first = axis.weights(0, 4)
    centres = (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose(first[8:], np.cos(0.5 * np.pi * centres) ** 2, atol=1e-6)
    np.testing.assert_allclose(axis.weights(1, 4)[:8], 1 - first[8:], atol=1e-6)


def test_tiles__shift_the_last_tile_inwards() -> None:
    axis = tiles(height=100, width=1, tile=64, overlap=0, multiple=4).rows
    assert axis.starts == (0, 36)


def test_tiles__iterate_row_by_row() -> None:
    tiling = tiles(height=10, width=10, tile=8, overlap=0, multiple=2)
    assert [(w.row, w.col) for w in tiling] == [(0, 0), (0, 2), (2, 0), (2, 2)]
    assert len(tiling) == 4
    assert tiling.window(1, 0) == list(tiling)[2] == Window(row=2, col=0, height=8, width=8)


@given(grids, st.data())
@settings(max_examples=60, deadline=None)
def test_axis__touching_tiles_are_those_that_hold_some_of_the_pixels(
    grid: tuple[int, int, int, int], data: st.DataObject
) -> None:
    length, multiple, tile, overlap = grid
    axis = tiles(height=length, width=1, tile=tile, overlap=overlap, multiple=multiple).rows
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    touching = [i for i, first in enumerate(axis.starts) if first < stop and first + tile > start]
    if axis.tile == tile:  # a raster that is shorter than a tile has one of its own length
        assert list(axis.touching(start, stop)) == touching


def test_tiling__rows_of_tiles_finish_every_pixel_once() -> None:
    tiling = tiles(height=101, width=30, tile=32, overlap=8, multiple=4)
    count = len(tiling.rows.starts)
    parts = [tiling.finished_rows(row, row + 1) for row in range(count)]
    ends = [part.row + part.height for part in parts]
    assert [part.row for part in parts] == [0, *ends[:-1]]
    assert tiling.finished_rows(0, count) == tiling.raster
    assert tiling.raster == Window(row=0, col=0, height=101, width=30)
    assert {(part.col, part.width) for part in parts} == {(0, 30)}


@pytest.mark.parametrize(
    ("multiple", "tile"), [(384, 384), (224, 448), (16, 384), (8, 384), (128, 384), (512, 512)]
)
def test_default_tile__near_384(multiple: int, tile: int) -> None:
    assert default_tile(multiple) == tile


@pytest.mark.parametrize(
    ("tile", "overlap", "said"),
    [
        (100, 0, "tile of 100"),
        (0, 0, "tile of 0"),
        (64, 64, "overlap of 64"),
        (64, 5, "overlap of 5"),
        (64, -32, "overlap of -32"),
    ],
)
def test_tiles__refuse_what_cannot_work_and_name_what_does(
    tile: int, overlap: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        tiles(height=500, width=500, tile=tile, overlap=overlap, multiple=32)
    suggested = int(str(caught.value).rsplit(" ", 1)[1])
    if said.startswith("tile"):
        tiles(height=500, width=500, tile=suggested, overlap=0, multiple=32)
    else:
        tiles(height=500, width=500, tile=tile, overlap=suggested, multiple=32)


def test_window__refuses_nonsense() -> None:
    with pytest.raises(ConfigError, match="not a window"):
        Window(row=-1, col=0, height=3, width=3)
    with pytest.raises(ConfigError, match="not a window"):
        Window(row=0, col=0, height=0, width=3)


def test_window__clips_to_the_raster() -> None:
    window = Window(row=4, col=8, height=10, width=10).clip(height=6, width=100)
    assert window == Window(row=4, col=8, height=2, width=10)
    assert window.slices == (slice(4, 6), slice(8, 18))


@pytest.mark.parametrize(
    ("tile", "stride", "overlap"), [(384, 32, 96), (448, 32, 128), (64, 32, 32), (32, 32, 0)]
)
def test_default_overlap__is_a_quarter_rounded_up(tile: int, stride: int, overlap: int) -> None:
    assert default_overlap(tile, stride) == overlap
