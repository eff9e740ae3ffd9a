"""Squares cut from scenes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from deo.bands import MODEL_BANDS
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.cuts import SceneFolder, find_scenes

ESA = [band.name for band in SENTINEL2]


def test_scenes__only_cuts_with_enough_data(tmp_path: Path, make: Any) -> None:
    values = make.samples(1, size=40, channels=13)[0]
    values[:, :, 30:] = 0
    make.raster(tmp_path / "s" / "a.tif", values, names=ESA, nodata=0)
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
