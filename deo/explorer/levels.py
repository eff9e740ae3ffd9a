"""Features in tiles of several resolutions, read as they are needed and kept within a budget."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray

from deo.explorer.tile import SIDE, Tile, tile_of
from deo.maps.cog import overview_factors
from deo.maps.memory import MapArray
from deo.maps.readback import Finished, raster_map
from deo.maps.stack import FeatureMap, FeatureStack
from deo.scene.window import Window

_TOGETHER = 2  # tiles along a side that are read at once: the blocks of a GeoTIFF have 512 cells
_STRIP_BYTES = 128 * 2**20
_SAMPLE = 128  # cells along a side of the sample
_SHARE = 0.25  # of the machine's memory, for tiles


class Sample(NamedTuple):
    """Some thousand cells spread evenly: their features, and the cell of level 0 in their middle.

    Args:
        vectors: (n, channels) float32.
        lengths: (n,).
        rows, columns: (n,).
    """

    vectors: NDArray[np.float32]
    lengths: NDArray[np.float32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


class FeatureLevels:
    """A stack of maps at full resolution, level 0, and at halves of it.

    Cells of a higher level are means. They come from the overviews of GeoTIFFs, and are computed
    for other outputs. Safe for several threads.

    Args:
        stack: an open stack.
        overviews: of a GeoTIFF that is the whole stack, one for each level from 1 on; empty: there
            are none.
        budget: bytes of tiles to keep; None: a quarter of the machine's memory.
    """

    def __init__(
        self, stack: FeatureStack, overviews: Sequence[Finished] = (), budget: int | None = None
    ) -> None:
        self._stack = stack
        self._overviews = overviews
        self._budget = round(_memory() * _SHARE) if budget is None else budget
        self._tiles: OrderedDict[tuple[int, int, int], Tile] = OrderedDict()
        self._reading, self._keeping = threading.Lock(), threading.Lock()
        self.highest = len(overview_factors(max(self.size(0))))

    @property
    def channels(self) -> int:
        return self._stack.shape.channels

    def size(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level."""
        _, height, width = self._stack.shape
        return -(-height // 2**level), -(-width // 2**level)

    def tile(self, level: int, row: int, col: int) -> Tile:
        """The tile that is `row` tiles down and `col` along, which must lie on the map."""
        key = level, row, col
        if (tile := self._kept(key)) is not None:
            return tile
        with self._reading:
            if (tile := self._kept(key)) is None:  # another thread may have read it meanwhile
                self._load(level, row // _TOGETHER, col // _TOGETHER)
                tile = self._kept(key)
        assert tile is not None, f"{key} is no tile of the map"
        return tile

    def vector(self, row: int, col: int) -> NDArray[np.float32] | None:
        """The features of a cell of level 0, (channels,); None where there are none."""
        tile = self.tile(0, row // SIDE, col // SIDE)
        flat = row % SIDE * tile.width + col % SIDE
        position = int(np.searchsorted(tile.known, flat))
        if position == len(tile.known) or tile.known[position] != flat:
            return None
        vector: NDArray[np.float32] = tile.vectors[position].copy()
        return vector

    def sample(self) -> Sample:
        """Cells spread evenly over the highest level."""
        height, width = self.size(self.highest)
        step = max(1, -(-max(height, width) // _SAMPLE))
        parts = []
        for top in range(-(-height // SIDE)):
            for left in range(-(-width // SIDE)):
                tile = self.tile(self.highest, top, left)
                rows, cols = (
                    top * SIDE + tile.known // tile.width,
                    left * SIDE + tile.known % tile.width,
                )
                chosen = (rows % step == step // 2) & (cols % step == step // 2)
                parts.append(
                    (tile.vectors[chosen], tile.lengths[chosen], rows[chosen], cols[chosen])
                )
        vectors, lengths, rows, cols = (np.concatenate(each) for each in zip(*parts, strict=True))
        height, width = self.size(0)
        scale = 2**self.highest
        return Sample(
            vectors,
            lengths,
            np.minimum(rows * scale + scale // 2, height - 1),
            np.minimum(cols * scale + scale // 2, width - 1),
        )

    def _kept(self, key: tuple[int, int, int]) -> Tile | None:
        with self._keeping:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def _load(self, level: int, row: int, col: int) -> None:
        """Read and keep tiles that lie together, and drop those not used for longest."""
        height, width = self.size(level)
        side = SIDE * _TOGETHER
        window = Window(row=row * side, col=col * side, height=side, width=side)
        values = self._read(level, window.clip(height=height, width=width))
        for down in range(0, values.shape[1], SIDE):
            for along in range(0, values.shape[2], SIDE):
                key = level, row * _TOGETHER + down // SIDE, col * _TOGETHER + along // SIDE
                tile = tile_of(values[:, down : down + SIDE, along : along + SIDE])
                with self._keeping:
                    self._tiles[key] = tile
        with self._keeping:
            used = sum(tile.vectors.nbytes for tile in self._tiles.values())
            while used > self._budget and len(self._tiles) > _TOGETHER**2:
                _, dropped = self._tiles.popitem(last=False)
                used -= dropped.vectors.nbytes

    def _read(self, level: int, window: Window) -> NDArray[np.float32]:
        """(channels, rows, columns) of a window of a level; NaN = nodata."""
        if level == 0:
            return self._stack.read(window)
        if self._overviews:
            return self._overviews[level - 1].rows.window(*window.slices)
        return self._averaged(level, window)

    def _averaged(self, level: int, window: Window) -> NDArray[np.float32]:
        """Means over the cells of level 0, some rows at a time."""
        factor = 2**level
        channels, height, width = self._stack.shape
        first, last = window.col * factor, min((window.col + window.width) * factor, width)
        step = max(1, _STRIP_BYTES // (channels * (last - first) * factor * 4))
        strips = []
        for top in range(0, window.height, step):
            row = (window.row + top) * factor
            end = min((window.row + min(top + step, window.height)) * factor, height)
            part = Window(row=row, col=first, height=end - row, width=last - first)
            strips.append(block_means(self._stack.read(part), factor))
        return np.concatenate(strips, axis=1)


@contextlib.contextmanager
def open_levels(
    stack: FeatureStack, features: Sequence[FeatureMap], *, budget: int | None = None
) -> Iterator[FeatureLevels]:
    """The levels of an open stack of `features`."""
    with contextlib.ExitStack() as files:
        overviews: list[Finished] = []
        first = features[0]
        if len(features) == 1 and not isinstance(first, MapArray):
            overviews = _overviews(files, stack, Path(first))
        yield FeatureLevels(stack, overviews, budget)


def block_means(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means over squares of `factor` cells of (channels, rows, columns); cells with NaN count not.

    Squares that reach past the end are of what there is.
    """
    rows, cols = (np.arange(0, side, factor) for side in values.shape[1:])
    known = np.isfinite(values).all(axis=0)
    filled = np.where(known, values, np.float32(0)).astype(np.float32, copy=False)
    total = np.add.reduceat(np.add.reduceat(filled, cols, axis=2), rows, axis=1)
    count = np.add.reduceat(np.add.reduceat(known.astype(np.float32), cols, axis=1), rows, axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        means: NDArray[np.float32] = (total / count).astype(np.float32, copy=False)
    return means


def _overviews(files: contextlib.ExitStack, stack: FeatureStack, path: Path) -> list[Finished]:
    """The overviews of a GeoTIFF as maps, down to the highest level; none of other outputs."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return []
    info, shape = stack.info, stack.shape
    count = len(overview_factors(max(shape.height, shape.width)))
    with rasterio.open(path) as file:
        factors = file.overviews(1)
    if factors[:count] != [2 ** (level + 1) for level in range(count)]:
        return []
    opened = (files.enter_context(rasterio.open(path, overview_level=i)) for i in range(count))
    scales = stack.maps[0].rows.scales  # an overview does not say them
    return [Finished(replace(raster_map(file, info), scales=scales), info) for file in opened]


def _memory() -> int:
    """Bytes that the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not every system tells
        return 8 * 2**30
