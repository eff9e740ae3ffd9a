"""Large rasters made by repeating a real scene (or noise, where there is none)."""

import os
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from deo import MODEL_BANDS, open_scene
from deo.scene import window

SHARED = Path(os.environ.get("DEO_SHARED", Path(__file__).parents[3] / "shared"))
SCENES = SHARED / "data" / "sentinel2"
_ROWS = 512


def real_pixels(name: str = "mumbai_1_20151130.tif") -> NDArray[np.uint16]:
    """The largest part of a scene without nodata at its rim: (10, height, width)."""
    if not (SCENES / name).exists():
        return np.random.default_rng(0).integers(200, 4000, (10, 800, 500)).astype(np.uint16)
    with open_scene(SCENES / name, offset=0) as scene:
        inner = window.Window(row=24, col=24, height=scene.height - 48, width=scene.width - 48)
        return scene.read(inner, MODEL_BANDS).values.clip(1, 65_535).astype(np.uint16)


def write_repeated(path: Path, size: int, *, valid_rows: int | None = None) -> None:
    """A size x size GeoTIFF, tiled and compressed as Sentinel-2 COGs are.

    Args:
        valid_rows: rows from the top that hold data; the others are nodata.
    """
    tile = real_pixels()
    with rasterio.Env(GDAL_CACHEMAX=64 * 2**20), rasterio.open(
        path, "w", driver="GTiff", count=10, height=size, width=size, dtype="uint16", nodata=0,
        crs="EPSG:32643", transform=from_origin(300_000, 2_200_000, 10, 10), tiled=True,
        blockxsize=512, blockysize=512, compress="deflate", predictor=2, zlevel=1,
        interleave="band", bigtiff="if_safer",
    ) as file:  # fmt: skip
        file.descriptions = tuple(MODEL_BANDS)
        cols = np.arange(size) % tile.shape[2]
        for top in range(0, size, _ROWS):
            rows = np.arange(top, min(top + _ROWS, size))
            block = tile[:, rows % tile.shape[1]][:, :, cols]
            if valid_rows is not None:
                block[:, rows >= valid_rows] = 0
            file.write(block, window=Window(0, top, size, len(rows)))
