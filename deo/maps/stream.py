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
    column: int  # among the columns of tiles
    valid: NDArray[np.bool_]  # (height, width)


class _Batch(NamedTuple):
    tile_row: int
    tiles: tuple[_Tile, ...]
    images: Tensor | None  # (tiles, bands, height, width), contract applied; None: none is needed
    seen: int  # tiles dealt with, empty ones included
    last: bool  # no more tiles in this row


def extract_rows(
    scene: Readable,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    *,
    batch_size: int,
    window: Window | None = None,
    progress: Callable[[int], None] | None = None,
) -> Generator[RowBand]:
    """Run `model` over every tile that holds valid pixels; yield the blended maps from the top.

    What is in a batch is fixed by the tiling: batches never reach over rows of tiles, and begin at
    every `batch_size`th tile from the left edge of the raster. So the bits of a cell depend neither
    on the window nor on where the run started.

    Args:
        batch_size: tiles per call of the model. Halved when the device runs out of memory.
        window: pixels whose cells are wanted, with edges on multiples of the model's stride, or at
            the lower and right edges of the raster; None: all.
        progress: told how many tiles have been dealt with, empty ones included. What a window needs
            of the row of tiles above it, which a run from the top has dealt with, is not counted.

    Raises:
        SceneError: a window cannot be read.
        ModelError: the model's maps have wrong shapes, are not finite, or one tile does not fit
            on the device.
    """
    wanted = window or tiling.raster
    columns = tiling.cols.touching(wanted.col, wanted.col + wanted.width)
    batches = read_ahead(_read(scene, model, contract, tiling, batch_size, wanted), depth=1)
    runner = Runner(model, batch_size)
    canvases = [
        Canvas(layer=layer, channels=channels, stride=stride, tiling=tiling, window=wanted)
        for layer, (channels, stride) in enumerate(
            zip(model.channels, model.reductions, strict=True)
        )
    ]
    with contextlib.closing(batches):
        for batch in batches:
            maps = () if batch.images is None else runner(batch.images)
            for canvas, features in zip(canvases, maps, strict=batch.images is not None):
                for tile, feature in zip(batch.tiles, features, strict=True):
                    if tile.column in columns:
                        canvas.add(batch.tile_row, tile.column, feature)
                        canvas.mark(tile.column, tile.valid)
            is_wanted = tiling.rows.finished_by(batch.tile_row).stop > wanted.row
            if progress is not None and is_wanted:
                progress(batch.seen)
            if batch.last:
                blocks = tuple(canvas.finish(batch.tile_row) for canvas in canvases)
                if is_wanted:
                    yield RowBand(batch.tile_row, blocks)


def _read(
    scene: Readable,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    batch_size: int,
    wanted: Window,
) -> Iterator[_Batch]:
    """Batches of tiles with valid pixels, row by row; an empty one where none is valid."""
    columns = tiling.cols.touching(wanted.col, wanted.col + wanted.width)
    count = len(tiling.cols.starts)
    most = min(batch_size, count)
    starts = range(columns.start // batch_size * batch_size, columns.stop, batch_size)
    for row in tiling.rows.touching(wanted.row, wanted.row + wanted.height):
        for start in starts:
            tiles: list[_Tile] = []
            images = np.empty(0, np.float32)
            batch = range(start, min(start + batch_size, count))
            for column in batch:
                window = tiling.window(row, column)
                inside = window.clip(height=scene.height, width=scene.width)
                with enough_memory(
                    f"cannot read a batch of {most} tiles of {window.height} pixels"
                ):
                    pixels = scene.read(inside, model.bands)
                    if pixels.valid.any():
                        image = _fill(contract.apply(pixels), window)
                        if not tiles:
                            images = np.empty((most, *image.shape), np.float32)
                        images[len(tiles)] = image
                        tiles.append(_Tile(column, _extend(pixels.valid, window)))
            needed = any(tile.column in columns for tile in tiles)
            tensor = _tensor(images[: len(tiles)], model) if needed else None
            yield _Batch(row, tuple(tiles), tensor, len(batch), start == starts[-1])


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
