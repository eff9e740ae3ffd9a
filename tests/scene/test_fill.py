"""Fill values among integers that the file does not declare."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.scene.window import Window

BANDS = BandSet("B04,B03,B02")


def numbers(dtype: str = "int16", *, low: int = 100, high: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (3, 40, 50)).astype(dtype)


def opened(array: np.ndarray, **settings: Any) -> tuple[Scene, np.ndarray]:
    scene = open_scene(array, bands=BANDS, **settings)
    valid = scene.read(Window(row=0, col=0, height=40, width=50)).valid
    return scene, valid


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("int16", -9999),
        ("int16", -32768),
        ("int16", -999),
        ("int16", -1),
        ("int16", 32767),
        (">i2", -9999),
        ("int32", -9999),
        ("int32", -(2**31)),
        ("uint16", 65535),
        ("uint16", 2**16 - 9999),
        ("uint32", 2**32 - 1),
    ],
)
def test_fill__in_all_bands_is_not_valid(dtype: str, fill: int) -> None:
    array = numbers(dtype)
    array[:, :5] = fill
    scene, valid = opened(array)
    assert not valid[:5].any()
    assert valid[5:].all()
    assert f"stored {np.float32(fill):.0f}" in scene.mask_source
    assert f"-a_nodata {np.float32(fill):.0f}" in scene.notes[-1]


def test_fill__of_one_band_is_not_valid() -> None:
    array = numbers()
    array[1, :5] = -9999
    scene, valid = opened(array)
    assert not valid[:5].any()
    assert valid[5:].all()
    assert "of B03" in scene.notes[-1]


def test_fill__beside_measurements_below_zero() -> None:
    array = numbers(low=-300)
    array[:, :5] = -9999
    _, valid = opened(array)
    np.testing.assert_array_equal(valid, np.arange(40)[:, None].repeat(50, 1) >= 5)


def test_fill__declared_is_not_looked_for_again() -> None:
    array = numbers()
    array[:, :5] = -9999
    scene, valid = opened(array, nodata=-9999)
    assert not valid[:5].any()
    assert len(scene.notes) == 1  # about the offset
    assert "nothing declares" not in scene.mask_source


@pytest.mark.parametrize(
    "array",
    [
        numbers(low=-300),  # measurements below zero
        numbers("uint16"),
        numbers("uint16", high=65536).clip(max=65535),  # bright up to saturation
    ],
)
def test_measurements__stay(array: np.ndarray) -> None:
    array[:, 0, :2] = array.max()  # saturated in all bands at once
    scene, valid = opened(array)
    assert valid.all()
    assert len(scene.notes) == 1


def test_saturation__beside_other_bright_pixels_stays() -> None:
    array = numbers("uint16")
    array[:, :2] = 65535
    array[:, 2] = 50_000
    assert opened(array)[1].all()


def test_saturation__of_single_pixels_stays() -> None:
    array = numbers("uint16")
    array[:, 7, 7:10] = 65535
    assert opened(array)[1].all()


def test_several__are_refused() -> None:
    array = numbers()
    array[0, 0], array[0, 1] = -9999, -20_000
    with pytest.raises(RadiometryError, match="2 numbers from -20000 to -9999 that no measurement"):
        opened(array)


def test_fill__in_files_with_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    array = numbers() + 1000
    array[:, :5] = -9999
    with rasterio.open(
        path, "w", driver="GTiff", dtype="int16", count=3, height=40, width=50, crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(array)
        file.descriptions = tuple(BANDS)
        file.update_tags(**{"s2:processing_baseline": "05.09"})
    with open_scene(path) as scene:
        values, valid = scene.read(Window(row=0, col=0, height=40, width=50))
    assert (valid.sum(), values.min()) == (35 * 50, 0)
