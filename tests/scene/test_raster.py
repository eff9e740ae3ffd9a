"""A raster file's pixels and what it marks as missing, against rasterio."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from deo.bands import BandSet
from deo.scene.opening import open_scene

UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}


HEIGHT, WIDTH = 37, 53


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("mask", ["nodata", "internal", "sidecar", "alpha", "none"])
def test_read__mask_is_rasterios(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    dtype: str,
    mask: str,
) -> None:
    if mask == "alpha" and not dtype.startswith("uint"):
        pytest.skip("GDAL takes alpha of unsigned numbers only for a mask")
    array = numbers(3, dtype)
    settings: dict[str, Any] = {"descriptions": ("B04", "B03", "B02")}
    hole = np.where(numbers(1)[0] > 40, 255, 0).astype("uint8")
    if mask == "nodata":
        settings["nodata"] = 7
    elif mask in ("internal", "sidecar"):
        settings["mask"] = hole
    elif mask == "alpha":
        array = np.concatenate([array, np.where(hole, np.iinfo("uint8").max, 0)[None]]).astype(
            dtype
        )
        settings["descriptions"] = ("B04", "B03", "B02", None)
        settings["colorinterp"] = [
            ColorInterp.gray,
            *[ColorInterp.undefined] * 2,
            ColorInterp.alpha,
        ]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask == "internal"):
        path = write(tmp_path / "scene.tif", array, **settings)
    assert (tmp_path / "scene.tif.msk").exists() == (mask == "sidecar")
    with open_scene(path, scale=1, offset=0) as scene, rasterio.open(path) as file:
        pixels = scene.read(scene.whole)
        valid = file.read_masks([1, 2, 3]).all(axis=0)
        sampled = scene.sample(size=20)
        assert scene.bands == BandSet("B04,B03,B02")
    assert valid.all() == (mask == "none")
    np.testing.assert_array_equal(pixels.valid, valid)
    np.testing.assert_array_equal(pixels.values, np.where(valid, array[:3], 0))
    assert sampled.values.shape == (3, 14, 20)
    word = {"nodata": "nodata 7", "internal": "mask", "sidecar": "mask", "alpha": "alpha band"}
    floats = "numbers that are not finite" if dtype.startswith("float") else "none: every pixel"
    assert word.get(mask, floats) in scene.mask_source


@pytest.mark.parametrize(("dtype", "bands"), [("uint16", "B04,B03,B02,B05,B06"), ("int16", "B04")])
def test_read__heeds_an_alpha_band_that_gdal_does_not(
    write: Callable[..., Path],
    numbers: Callable[..., np.ndarray],
    tmp_path: Path,
    dtype: str,
    bands: str,
) -> None:
    names = bands.split(",")
    array = numbers(len(names) + 1, dtype)
    array[-1] = 0
    array[-1, :, 5:] = 255
    others = [ColorInterp.gray, *[ColorInterp.undefined] * (len(names) - 1)]
    path = write(
        tmp_path / "scene.tif",
        array,
        descriptions=(*names, None),
        colorinterp=[*others, ColorInterp.alpha],
    )
    with open_scene(path, scale=1, offset=0) as scene:
        valid, sampled = scene.read(scene.whole).valid, scene.sample(size=8).valid
        assert "alpha band" in scene.mask_source
    np.testing.assert_array_equal(valid, array[-1] > 0)
    assert 0 < sampled.sum() < sampled.size


def test_read__numbers_that_are_not_finite_are_not_valid(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    array = np.random.default_rng(0).uniform(0, 0.9, (2, HEIGHT, WIDTH)).astype("float32")
    array[0, 0, 0], array[1, 3, 4], array[0, 5, 5] = np.nan, np.inf, -np.inf
    path = write(tmp_path / "scene.tif", array, descriptions=("B02", "B03"))
    with open_scene(path) as scene:
        values, valid = scene.read(scene.whole)
        assert np.isfinite(scene.sample().values).all()
    assert sorted(map(tuple, np.argwhere(~valid).tolist())) == [(0, 0), (3, 4), (5, 5)]
    np.testing.assert_array_equal(values, np.where(valid, array * np.float32(10_000), 0))


def test_sample__a_huge_file_without_overviews_is_read_in_windows(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.tile(np.arange(1, 401, dtype="uint16"), (1, 300, 1))
    path = write(tmp_path / "B04.tif", array, tiled=True, blockxsize=16, blockysize=16)
    monkeypatch.setattr("deo.scene.raster.LARGEST_SCANNED", 1000)
    with open_scene(path) as scene:
        values, valid = scene.sample(size=100)
    assert values.shape == (1, 75, 100)
    assert valid.all()
    inner = np.unique(values)
    assert set(inner) <= set(range(1, 401))
    assert np.diff(inner).max() < 30  # spread over all of the width
