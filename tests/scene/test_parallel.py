"""The files of a scene read side by side."""

from pathlib import Path

import numpy as np
import rasterio

from deo.maps.cache import reading
from deo.scene.opening import open_scene


def band_files(folder: Path, *, height: int, width: int, block: int) -> list[str]:
    """Three files of one band each, noise."""
    rng = np.random.default_rng(5)
    for name in ("B04", "B03", "B02"):
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", dtype="uint16", count=1, height=height,
            width=width, tiled=True, blockxsize=block, blockysize=block, crs="EPSG:32633",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file:  # fmt: skip
            file.write(rng.integers(1, 60_000, (1, height, width)).astype("uint16"))
    return [f"{name}.tif" for name in ("B04", "B03", "B02")]


def test_reading__a_local_scene_gets_no_threads(tmp_path: Path) -> None:
    names = band_files(tmp_path, height=128, width=128, block=128)
    with (
        open_scene([tmp_path / name for name in names], offset=0) as scene,
        reading([scene], 64) as readable,
    ):
        assert readable is scene
