"""Squares cut from scenes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.cuts import SceneFolder, find_scenes

ESA = [band.name for band in SENTINEL2]


def random_samples(count: int, size: int = 8, channels: int = 10) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 9000, (channels, size, size), dtype=np.uint16) for _ in range(count)]


def write_scene(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, nodata: int | None = 0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(10, 0, 500000, 0, -10, 5000000),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)


def test_scenes__only_cuts_with_enough_data(tmp_path: Path) -> None:
    values = random_samples(1, size=40, channels=13)[0]
    values[:, :, 30:] = 0
    write_scene(tmp_path / "s" / "a.tif", values, names=ESA)
    folder = SceneFolder(tmp_path / "s", size=16, stride=8, valid=0.8)
    chosen = [ESA.index(name) for name in MODEL_BANDS]
    expected = [
        values[chosen, row : row + 16, col : col + 16]
        for row in range(0, 25, 8)
        for col in range(0, 25, 8)
        if (values[0, row : row + 16, col : col + 16] > 0).mean() >= 0.8
    ]
    assert len(folder) == len(expected) == 12
    for cut, wanted in zip((folder[i] for i in range(len(folder))), expected, strict=True):
        np.testing.assert_array_equal(cut, wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(folder))[0], expected[0])


def test_find_scenes__a_product_is_one_scene(tmp_path: Path) -> None:
    inside = tmp_path / "S2A.SAFE" / "GRANULE" / "B02.jp2"
    inside.parent.mkdir(parents=True)
    inside.touch()
    (tmp_path / "b_cm.tif").touch()
    assert [path.name for path in find_scenes(tmp_path)] == ["S2A.SAFE", "b_cm.tif"]
    assert find_scenes(tmp_path, "*_1_*.tif") == []
