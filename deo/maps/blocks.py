"""A rectangle of a map, computed from exactly the tiles that touch it."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.contracts import InputContract
from deo.errors import ConfigError
from deo.maps.runner import FeatureModel
from deo.maps.stream import Readable, extract_rows
from deo.maps.windows import Tiling
from deo.scene.window import Window


class Block(NamedTuple):
    """A rectangle of one layer's map.

    Args:
        values: (channels, rows, cols) in float32; NaN where no input pixel is valid.
        valid: (rows, cols), the valid fraction of each cell's pixels, 0..1.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.float32]


def compute_block(
    scene: Readable,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    window: Window,
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[Block, ...]:
    """Compute what a window of the scene is in each layer's map; nothing is written.

    The bits are those of the whole map, whichever other blocks are computed, by whom and in which
    order, on one kind of machine with one number of threads. For their sake the tiles that share a
    batch with those that touch the window are computed too, since what else is in a batch can move
    the last bits of a tile. Up to `batch_size` - 1 tiles more are therefore computed on either side
    of each row; with a batch size of 1 there are none, and no other tile is read.

    Memory is bounded by the window and by one row of the tiles that touch it.

    Args:
        scene: inside `deo.maps.cache.reading`, each stored block is fetched once.
        tiling: over the whole scene.
        window: in pixels of the scene. Its edges lie on multiples of the model's stride, or at the
            lower and right edges of the scene.
        batch_size: tiles per call of the model; a whole map that is to be equal has the same.
        progress: told how many tiles have been dealt with, empty ones included.

    Returns:
        A block per layer.

    Raises:
        ConfigError: the window does not lie on the grid of the model's stride, or not in the scene.
        SceneError: from reading.
        ModelError: from computing.
    """
    _check(window, tiling, model.stride)
    blocks = tuple(
        Block(
            np.empty(
                (channels, -(-window.height // stride), -(-window.width // stride)), np.float32
            ),
            np.empty((-(-window.height // stride), -(-window.width // stride)), np.float32),
        )
        for channels, stride in zip(model.channels, model.reductions, strict=True)
    )
    bands = extract_rows(
        scene, model, contract, tiling, batch_size=batch_size, window=window, progress=progress
    )
    with contextlib.closing(bands):
        for band in bands:
            for block, rows, stride in zip(blocks, band.blocks, model.reductions, strict=True):
                first = rows.row - window.row // stride
                block.values[:, first : first + len(rows.values)] = rows.values.transpose(1, 0, 2)
                block.valid[first : first + len(rows.valid)] = rows.valid
    return blocks


def _empty(window: Window, channels: int, stride: int) -> Block:
    rows, cols = -(-window.height // stride), -(-window.width // stride)
    return Block(np.empty((channels, rows, cols), np.float32), np.empty((rows, cols), np.float32))


def _check(window: Window, tiling: Tiling, stride: int) -> None:
    for first, length, axis in (
        (window.row, window.height, tiling.rows),
        (window.col, window.width, tiling.cols),
    ):
        end = first + length
        if end > axis.length or first % stride or (end % stride and end != axis.length):
            raise ConfigError(
                f"{window} is no block of a scene of {tiling.rows.length} x {tiling.cols.length} "
                f"pixels: its edges must lie inside, on multiples of the model's stride {stride}, "
                "or at the scene's lower and right edges"
            )
