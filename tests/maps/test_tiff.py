"""TIFFs of all layouts, compared with where GDAL says the blocks lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from deo.maps.tiff import missing_part


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("big", ["NO", "YES"])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"blockysize": 1},
        {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": "band"},
    ],
)
def test_missing_part__of_any_layout(
    tmp_path: Path, order: str, big: str, layout: dict[str, Any]
) -> None:
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=50, width=70, dtype="uint16", bigtiff=big,
        endianness=order, transform=from_origin(5e5, 5e6, 10, 10), crs="EPSG:32633", **layout,
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(0).integers(0, 9999, (3, 50, 70)).astype(np.uint16))
    assert missing_part(path) is None
    content = path.read_bytes()
    for share in (0, 0.001, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        assert missing_part(path) is not None
    path.write_bytes(content[:-1])
    assert missing_part(path) is not None


def test_missing_part__of_a_sparse_file_is_none(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8",
        tiled=True, blockxsize=16, blockysize=16, sparse_ok=True, crs="EPSG:32633",
        transform=from_origin(5e5, 5e6, 10, 10),
    ):  # fmt: skip
        pass
    assert missing_part(tmp_path / "map.tif") is None


@pytest.mark.parametrize(
    "content",
    [
        b"II*\0" + b"\x08\0\0\0" + b"\xff\xff" + bytes(40),
        b"II*\0\xff\xff\xff\xff",
        b"MM\0+" + bytes(12),
        b"II+\0" + b"\xff" * 100,
        b"II*\0\x08\0\0\0\x01\0\x44\x01\x04\0\xff\xff\xff\xff\x08\0\0\0\x08\0\0\0",
    ],
)
def test_missing_part__of_nonsense_ends(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "map.tif").write_bytes(content)
    missing_part(tmp_path / "map.tif")
