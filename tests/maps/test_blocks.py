"""Blocks of a map, computed each for itself: the bits of the whole, from the tiles that touch."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deo.api import feature_model
from deo.contracts import Contract
from deo.errors import ConfigError
from deo.maps.blocks import Block, compute_block
from deo.maps.runner import FeatureModel
from deo.maps.windows import Tiling, tiles
from deo.scene.window import Window

HEIGHT, WIDTH = 150, 117
HOLE = (slice(30, 100), slice(20, 117))


def laid(model: FeatureModel, tile: int = 32, overlap: int = 8) -> Tiling:
    return tiles(height=HEIGHT, width=WIDTH, tile=tile, overlap=overlap, multiple=model.stride)


def assert_equal(block: Block, whole: Block, window: Window, stride: int) -> None:
    rows = slice(window.row // stride, -(-(window.row + window.height) // stride))
    cols = slice(window.col // stride, -(-(window.col + window.width) // stride))
    np.testing.assert_array_equal(block.values, whole.values[:, rows, cols])
    np.testing.assert_array_equal(block.valid, whole.valid[rows, cols])


def cover(rows: list[int], cols: list[int]) -> list[Window]:
    """The windows between cuts."""
    return [
        Window(row=top, col=left, height=bottom - top, width=right - left)
        for top, bottom in itertools.pairwise(sorted({0, *rows, HEIGHT}))
        for left, right in itertools.pairwise(sorted({0, *cols, WIDTH}))
    ]


cuts = st.lists(st.integers(1, 14).map(lambda cell: cell * 8), max_size=3)


@given(cuts, cuts, st.sampled_from([1, 2, 3, 8]), st.sampled_from([0, 8, 24]), st.randoms())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_compute_block__any_cover_in_any_order_is_the_whole_to_the_bit(
    held: Callable[..., Any],
    local_model: FeatureModel,
    plain: Contract,
    rows: list[int],
    cols: list[int],
    batch_size: int,
    overlap: int,
    order: Any,
) -> None:
    scene, tiling = held(HEIGHT, WIDTH, hole=HOLE), laid(local_model, overlap=overlap)
    whole = compute_block(scene, local_model, plain, tiling, tiling.raster, batch_size=batch_size)
    windows = cover(rows, cols)
    order.shuffle(windows)
    for window in windows:
        blocks = compute_block(scene, local_model, plain, tiling, window, batch_size=batch_size)
        for block, one, stride in zip(blocks, whole, local_model.reductions, strict=True):
            assert_equal(block, one, window, stride)


def test_compute_block__a_backbones_bits_do_not_depend_on_the_block(
    held: Callable[..., Any], plain: Contract
) -> None:
    """A real network's bits may depend on what shares a batch: the tiling alone decides that."""
    model = feature_model("test_deo_swin", untrained=True, layer=None).model
    scene = held(HEIGHT, WIDTH, hole=(slice(0, 100), slice(0, 40)))
    tiling = tiles(height=HEIGHT, width=WIDTH, tile=64, overlap=32, multiple=model.stride)
    with torch.inference_mode():
        whole = compute_block(scene, model, plain, tiling, tiling.raster, batch_size=2)
        for window in cover([64], [32, 96]):
            blocks = compute_block(scene, model, plain, tiling, window, batch_size=2)
            for block, one, stride in zip(blocks, whole, model.reductions, strict=True):
                assert_equal(block, one, window, stride)


def test_compute_block__reads_the_tiles_that_touch_it_and_their_batches(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    tiling = laid(local_model, overlap=0)
    rows, cols = tiling.rows.starts, tiling.cols.starts
    assert (rows, cols) == ((0, 24, 56, 88, 120), (0, 24, 56, 88))
    window = Window(row=40, col=64, height=16, width=16)  # in one tile, the third of its row
    for batch_size, columns in ((1, cols[2:3]), (2, cols[2:]), (3, cols[:3]), (8, cols)):
        scene = held(HEIGHT, WIDTH)
        compute_block(scene, local_model, plain, tiling, window, batch_size=batch_size)
        assert [(read.row, read.col) for read in scene.reads] == [
            (24, column) for column in columns
        ]


def test_compute_block__tells_progress_of_what_it_deals_with(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    told: list[int] = []
    window = Window(row=0, col=0, height=16, width=16)
    scene = held(HEIGHT, WIDTH)
    compute_block(
        scene, local_model, plain, laid(local_model), window, batch_size=1, progress=told.append
    )
    assert sum(told) == len(scene.reads) == 1


@pytest.mark.parametrize(
    "window",
    [
        Window(row=4, col=0, height=8, width=8),
        Window(row=0, col=0, height=12, width=8),
        Window(row=0, col=0, height=8, width=WIDTH + 3),
        Window(row=152, col=0, height=8, width=8),
    ],
)
def test_compute_block__refuses_what_is_no_block_of_the_scene(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract, window: Window
) -> None:
    with pytest.raises(ConfigError, match="is no block of a scene of 150 x 117 pixels"):
        compute_block(
            held(HEIGHT, WIDTH), local_model, plain, laid(local_model), window, batch_size=1
        )
