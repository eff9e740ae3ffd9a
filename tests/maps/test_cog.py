from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS

from deo.errors import OutputError
from deo.maps import cog

Make = Callable[..., Any]


def check_cog(path: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert valid, (errors, warnings)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 0), ("float16", 5e-4), ("int8", 0.5 / 127 + 1e-6)]
)
def test_cog__holds_the_map(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    dtype: str,
    tolerance: float,
) -> None:
    rows, about = held_rows(), info(dtype=dtype)
    write(rows, about, tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == about.crs
        assert file.transform == about.transform
        assert file.descriptions == about.names
        assert {key: file.tags()[key] for key in info().tags} == info().tags
        assert file.compression.name == "zstd"
        assert file.interleaving.name == "band"
        assert set(file.colorinterp[1:]) == {rasterio.enums.ColorInterp.undefined}
        stored = file.read(masked=True)
        scales = np.array(file.scales)[:, None, None]
        assert file.dtypes[0] == ("int8" if dtype == "int8" else "float32")
    np.testing.assert_array_equal(np.ma.getmaskarray(stored)[0], rows.fraction == 0)
    wanted = rows.data.transpose(1, 0, 2)
    error = np.abs(stored.filled(0) * scales - np.nan_to_num(wanted))
    largest = np.nanmax(np.abs(wanted), axis=(1, 2), keepdims=True)
    assert (error <= tolerance * largest).all()


def test_cog__large_maps_have_tiles_and_nodata_aware_overviews(
    hold: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    data = np.ones((1100, 2, 700), np.float32) * rng.uniform(1, 2, (1, 2, 1)).astype(np.float32)
    data[:, :, 300:] = np.nan
    rows = hold(data)
    write(rows, info(2), tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.block_shapes == [(512, 512)] * 2
        assert file.overviews(1) == [2, 4]
        small = file.read(out_shape=(2, 275, 175))
    np.testing.assert_allclose(small[:, :, :75], data[:275, :, :75].transpose(1, 0, 2), rtol=1e-6)
    assert np.isnan(small[:, :, 76:]).all()


def test_cog__a_thousand_channels_in_bounded_memory(
    hold: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 1024, 30)).astype(np.float32)
    rows = hold(data)
    write(rows, info(1024), tmp_path / "map.tif")
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(), data.transpose(1, 0, 2))


def test_cog__the_same_rows_give_the_same_bytes(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        write(held_rows(600, 300, 3), info(3), tmp_path / f"{name}.tif")
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_cog__says_that_its_reference_system_would_be_lost(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    rotated = CRS.from_string(
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.01745329252"
    )
    with pytest.raises(OutputError, match=r"coordinate reference system .* gdalwarp"):
        write(held_rows(), info(crs=rotated), tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
    write(held_rows(), info(), tmp_path / "map.tif")  # nothing of the first is taken up
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == CRS.from_epsg(32633)


@pytest.mark.parametrize(
    "crs", ["+proj=laea +lat_0=10 +lon_0=12 +datum=WGS84", "+proj=geos +h=4e7"]
)
def test_cog__keeps_reference_systems_without_a_code(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    crs: str,
) -> None:
    write(held_rows(), info(crs=CRS.from_string(crs)), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == CRS.from_string(crs)


def test_damage__of_overviews_is_seen(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    """Where GDAL puts the overviews before the map, so a cut may leave them whole, or not."""
    path = tmp_path / "map.tif"
    write(held_rows(1100, 700, 2), info(2), path)
    with rasterio.open(path) as file:
        offsets = [
            int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=band, ovr=level))
            for band in (1, 2)
            for level in (0, 1)
        ]
        end = offsets[-1] + int(file.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=2, ovr=1))
    content = path.read_bytes()
    path.write_bytes(content[: end - 1])
    assert cog.damage(path)


def test_damage__of_another_s_tiff_is_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=64, width=64, dtype="uint8", crs="EPSG:32633",
        transform=Affine(40, 0, 500_000, 0, -40, 5_000_000),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 64, 64), np.uint8))
    assert cog.damage(path) is None
    content = path.read_bytes()
    with rasterio.open(path) as file:
        first = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    if first > 500:  # its head is whole and does not name us
        path.write_bytes(content[: first + 10])
        assert cog.damage(path) is None
