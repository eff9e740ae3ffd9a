"""Windows -> batches -> model -> blended rows, as a generator with bounded memory.

What is held at once: the batches read ahead, the model's activations for one batch, and the rows
of the maps that one row of tiles covers. None of it grows with the height of the raster; the rows
grow with its width.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.bands import BandSet, Pixels
from deo.contracts import InputContract
from deo.maps.background import read_ahead
from deo.maps.blend import Canvas, RowBlock
from deo.maps.runner import FeatureModel, Runner
from deo.maps.windows import Tiling
from deo.scene.gdal import enough_memory
from deo.scene.window import Window


class Readable(Protocol):
    """What a scene has to offer here."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def read(self, window: Window, bands: BandSet) -> Pixels: ...


class RowBand(NamedTuple):
    """All that one row of tiles finished: a block per layer."""

    tile_row: int
    blocks: tuple[RowBlock, ...]


class _Tile(NamedTuple):
    window: Window
    valid: NDArray[np.bool_]  # (height, width)


class _Batch(NamedTuple):
    tile_row: int
    tiles: tuple[_Tile, ...]
    images: Tensor | None  # (tiles, bands, height, width), contract applied; None without tiles
    seen: int  # tiles dealt with since the last batch, empty ones included
    last: bool  # no more tiles in this row


def extract_rows(
    scene: Readable,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    *,
    batch_size: int,
    finished: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Generator[RowBand]:
    """Run `model` over every tile that holds valid pixels; yield the blended maps from the top.

    Batches never reach over rows of tiles, so the arithmetic of a row does not depend on where
    the run started: rows from `finished` on are bit for bit those of a run from the top.

    Args:
        batch_size: tiles per call of the model. Halved when the device runs out of memory.
        finished: rows of tiles whose bands are not needed again (resume).
        progress: told how many tiles have been dealt with, empty ones included.

    Raises:
        SceneError: a window cannot be read.
        ModelError: the model's maps have wrong shapes, are not finite, or one tile does not fit
            on the device.
    """
    first = _first_row_seen_below(tiling, finished)
    batches = read_ahead(_read(scene, model, contract, tiling, batch_size, first), depth=1)
    runner = Runner(model, batch_size)
    canvases = [
        Canvas(layer=layer, channels=channels, stride=stride, tiling=tiling)
        for layer, (channels, stride) in enumerate(
            zip(model.channels, model.reductions, strict=True)
        )
    ]
    with contextlib.closing(batches):
        for batch in batches:
            maps = () if batch.images is None else runner(batch.images)
            for canvas, features in zip(canvases, maps, strict=batch.images is not None):
                for tile, feature in zip(batch.tiles, features, strict=True):
                    canvas.add(batch.tile_row, tile.window, feature)
                    canvas.mark(tile.window, tile.valid)
            if progress is not None and batch.tile_row >= finished:
                progress(batch.seen)
            if batch.last:
                band = RowBand(
                    batch.tile_row, tuple(canvas.finish(batch.tile_row) for canvas in canvases)
                )
                if batch.tile_row >= finished:
                    yield band


def _first_row_seen_below(tiling: Tiling, finished: int) -> int:
    """The first row of tiles that adds to a row of cells at or below tile row `finished`."""
    starts, tile = tiling.rows.starts, tiling.rows.tile
    if finished >= len(starts):
        return len(starts)
    return next(index for index, start in enumerate(starts) if start + tile > starts[finished])


def _read(
    scene: Readable,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    batch_size: int,
    first: int,
) -> Iterator[_Batch]:
    """Batches of tiles with valid pixels, row by row; an empty batch for an empty row."""
    most = min(batch_size, len(tiling.cols.starts))
    for index in range(first, len(tiling.rows.starts)):
        tiles: list[_Tile] = []
        images = np.empty(0, np.float32)
        seen = 0
        for window in tiling.row_of_tiles(index):
            if len(tiles) == batch_size:
                yield _Batch(index, tuple(tiles), _tensor(images, model), seen, False)
                tiles, seen = [], 0
            seen += 1
            inside = window.clip(height=scene.height, width=scene.width)
            with enough_memory(f"cannot read a batch of {most} tiles of {window.height} pixels"):
                pixels = scene.read(inside, model.bands)
                if pixels.valid.any():
                    image = _fill(contract.apply(pixels), window)
                    if not tiles:
                        images = np.empty((most, *image.shape), np.float32)
                    images[len(tiles)] = image
                    tiles.append(_Tile(window, _extend(pixels.valid, window)))
        found = _tensor(images[: len(tiles)], model) if tiles else None
        yield _Batch(index, tuple(tiles), found, seen, True)


def _tensor(images: NDArray[np.float32], model: FeatureModel) -> Tensor:
    tensor = torch.from_numpy(images)
    return tensor.pin_memory() if model.device.type == "cuda" else tensor


def _fill(image: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Mirror (C, h, w) past the raster's right and lower edge to the window's full size.

    Less than one cell is ever missing. Mirrored ground gives that cell's feature a plausible
    surrounding; a constant would draw a line along the edge of the map.
    """
    down, right = window.height - image.shape[1], window.width - image.shape[2]
    if not down and not right:
        return image
    return np.pad(image, ((0, 0), (0, down), (0, right)), mode="symmetric")


def _extend(valid: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
    down, right = window.height - valid.shape[0], window.width - valid.shape[1]
    return np.pad(valid, ((0, down), (0, right))) if down or right else valid
