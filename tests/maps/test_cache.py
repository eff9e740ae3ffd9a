import os
from pathlib import Path

import pytest
import rasterio
from rasterio.transform import from_origin

import deo
from deo import MODEL_BANDS
from deo.maps import cache
from deo.maps.cache import cache_size, gdal_settings

SMALLEST = 64 * 2**20


def wide(folder: Path, *, tiled: bool) -> Path:
    """A sparse file of ten bands, 2000 x 16 000."""
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512} if tiled else {"blockysize": 1}
    with rasterio.open(
        folder / "wide.tif", "w", driver="GTiff", count=10, height=2000, width=16_000,
        dtype="uint16", nodata=0, sparse_ok=True, crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10), **layout,
    ) as file:  # fmt: skip
        file.descriptions = tuple(MODEL_BANDS)
    return folder / "wide.tif"


@pytest.mark.parametrize("tiled", [True, False])
def test_cache_size__holds_the_blocks_of_a_row_of_tiles(tmp_path: Path, tiled: bool) -> None:
    with deo.open_scene(wide(tmp_path, tiled=tiled)) as opened:
        size = cache_size(opened, 384)
    rows, width = (2 * 512, 32 * 512) if tiled else (384 + 2, 16_000)
    assert size == rows * width * 10 * 2


def test_cache_size__says_what_the_memory_does_not_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "_memory", lambda: 2**20)
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    with deo.open_scene(wide(tmp_path, tiled=True)) as opened:
        assert cache_size(opened, 384) == SMALLEST
        said = [each for each in caplog.messages if "read more than once" in each]
        assert len(said) == 1
        caplog.clear()
        monkeypatch.setenv("GDAL_CACHEMAX", "500")  # who sets it knows
        cache_size(opened, 384)
    assert caplog.messages == []


def test_gdal_settings__bound_the_cache_unless_the_user_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    with gdal_settings(123 * 2**20):
        assert rasterio.env.getenv()["GDAL_CACHEMAX"] == 123 * 2**20
    monkeypatch.setitem(os.environ, "GDAL_CACHEMAX", "77")
    with gdal_settings(123 * 2**20):
        assert "GDAL_CACHEMAX" not in rasterio.env.getenv()
