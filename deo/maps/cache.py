"""GDAL's cache while rows of tiles are read: large enough that every block is fetched once."""

import contextlib
import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio

from deo.maps.pair import ScenePair, joined
from deo.scene.gdal import PLACELESS
from deo.scene.parallel import side_by_side
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene

log = logging.getLogger(__name__)

_CACHE_BYTES = 64 * 2**20
"""GDAL's cache of decoded blocks where no row of tiles is read. Its own default is a twentieth of
the machine's memory."""

_CACHE_SHARE = 0.25
"""What the cache may take of the machine's memory while a scene is read."""


@contextlib.contextmanager
def gdal_settings(cache: int = _CACHE_BYTES) -> Iterator[None]:
    """GDAL with a bounded cache, unless the user set one; a map without a place is no warning."""
    limit = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": cache}
    with PLACELESS, rasterio.Env(**limit):
        yield


@contextlib.contextmanager
def reading(scenes: Sequence[Scene], tile: int) -> Iterator[Scene | ScenePair]:
    """Scenes of one grid as rows of tiles are read from them: each block is fetched once, and
    remote files side by side.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(gdal_settings(sum(cache_size(scene, tile) for scene in scenes)))
        yield joined([stack.enter_context(side_by_side(scene)) for scene in scenes])


def cache_size(scene: Scene, tile: int) -> int:
    """Bytes of cache with which every stored block is fetched and unpacked once.

    Tiles are read row by row, so the blocks that one row of them touches are needed at once; with
    less, each tile would fetch its own anew. Says so where the machine's memory does not allow it.
    """
    needed = sum(
        _row_of_blocks(scene, source, tile)
        for source in {asset.source for asset in scene.assets}
        if isinstance(source, RasterSource)
    )
    most = int(_CACHE_SHARE * _memory())
    if needed > most and "GDAL_CACHEMAX" not in os.environ:
        log.warning(
            "%s: the blocks that a row of tiles touches take %d MiB, and a quarter of the memory "
            "is %d MiB: parts of the scene are read more than once. A smaller tile needs less; "
            "GDAL_CACHEMAX (in MiB) allows more",
            scene.name,
            needed >> 20,
            most >> 20,
        )
    return max(_CACHE_BYTES, min(needed, most))


def _row_of_blocks(scene: Scene, source: RasterSource, tile: int) -> int:
    """Bytes of a source's blocks that the tiles of one row may touch."""
    used = [
        (asset.index - 1, relation)
        for asset, relation in zip(scene.assets, scene.relations, strict=True)
        if asset.source is source
    ]
    rows = math.ceil(tile * used[0][1].rows.scale) + 2  # two for the kernel's rim
    bands = range(len(source.dtypes)) if source.interleaved else [index for index, _ in used]
    needed = 0
    for band in bands:
        height, width = source.blocks[band]
        down = min(-(-(rows - 1) // height) + 1, -(-source.grid.height // height))
        across = -(-source.grid.width // width)
        needed += down * height * across * width * np.dtype(source.dtypes[band]).itemsize
    return needed


def _memory() -> int:
    """Bytes that this process may use: the machine's, or its container's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes)
