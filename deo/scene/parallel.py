"""The files of a remote scene are read at the same time, so that their waits overlap."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from deo.scene.assets import Asset
from deo.scene.gdal import is_remote
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene
from deo.scene.sources import Source

_MOST = 16  # threads; a scene has at most 13 files


@contextlib.contextmanager
def side_by_side(scene: Scene) -> Iterator[Scene]:
    """The scene with a thread for each of its remote files, or bands where these lie apart.

    Values are the same. Local files are read one after another, since there the processor is the
    limit. The threads end with the block, so that a process that forks later has none of them.
    """
    if not any(is_remote(asset.source.path) for asset in scene.assets):
        yield scene
        return
    taken: set[Source] = set()
    more: list[RasterSource] = []
    assets: list[Asset] = []
    for asset in scene.assets:
        source = asset.source
        if source in taken and isinstance(source, RasterSource):
            again = source.split()
            if again is not None:
                more.append(again)
                asset = replace(asset, source=again)
        taken.add(source)
        assets.append(asset)
    lanes = len({id(asset.source) for asset in assets})
    pool = ThreadPoolExecutor(min(lanes, _MOST), thread_name_prefix="deo-lane")
    try:
        with pool:
            yield replace(scene, assets=tuple(assets), each=pool.map)
    finally:
        for source in more:
            source.close()
