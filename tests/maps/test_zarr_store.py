import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.maps import zarr_store

Make = Callable[..., Any]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_zarr__reads_back(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    dtype: str,
) -> None:
    import zarr

    rows, about = held_rows(), info(dtype=dtype)
    write(rows, about, tmp_path / "map.zarr")
    group = zarr.open_group(tmp_path / "map.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["geoemb:dimensions"] == 5
    assert group.attrs["geoemb:model"] == "urn:deo:model:toy:"
    assert group.attrs["proj:code"] == "EPSG:32633"
    assert group.attrs["spatial:transform"] == list(about.transform)[:6]
    assert group.attrs["spatial:bbox"] == [500_000, 4_998_800, 501_640, 5_000_000]
    array = group["embeddings"]
    assert array.metadata.dimension_names == ("embedding", "y", "x")
    assert array.dtype == dtype
    values = array[:].astype(np.float32)
    if dtype == "int8":
        values[values == -128] = np.nan
        values *= group["scale"][:][:, None, None]
    wanted = rows.data.transpose(1, 0, 2)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(wanted))
    tolerance = {"float32": 0, "float16": 5e-4, "int8": 0.0041}[dtype]
    largest = np.nanmax(np.abs(wanted), axis=(1, 2), keepdims=True)
    assert (np.abs(np.nan_to_num(values - wanted)) <= tolerance * largest).all()
    np.testing.assert_array_equal(group["valid_fraction"][:], rows.fraction)
    assert group["x"][0] == 500_020
    assert group["y"][-1] == 5_000_000 - 29.5 * 40
    assert zarr_store.read_tags(tmp_path / "map.zarr") == info().tags


def test_write_output__replaces_a_zarr_that_is_there(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    for layer in (1, 2):
        write(held_rows(), info(layer=layer), tmp_path / "map.zarr")
    import zarr

    group = zarr.open_group(tmp_path / "map.zarr", mode="r")
    assert group["embeddings"].attrs["long_name"].startswith("layer 2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.zarr", "work"]


@pytest.mark.parametrize(
    "lost", ["embeddings/c/0/0/0", "valid_fraction/c/0/0", "x/c/0", "embeddings/zarr.json"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_damage__of_a_zarr_that_lost_a_file(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
    lost: str,
    cut: bool,
) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    assert zarr_store.damage(path) is None
    if cut:
        (path / lost).write_bytes((path / lost).read_bytes()[:-1])
    else:
        (path / lost).unlink()
    assert zarr_store.damage(path)


def test_damage__of_a_zarr_whose_metadata_cannot_be_read(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    for content in (b"", b"{", b"[" * 100_000, b"[]"):
        (path / "zarr.json").write_bytes(content)
        assert zarr_store.damage(path)
    shutil.rmtree(path)
    path.mkdir()
    assert zarr_store.damage(path) == "it is empty"


def test_damage__is_not_what_others_add_to_a_zarr(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    path = tmp_path / "map.zarr"
    write(held_rows(), info(), path)
    (path / "mine").mkdir()
    (path / "mine" / "zarr.json").write_text("{}")
    (path / ".DS_Store").touch()
    (path / "embeddings" / ".DS_Store").touch()
    assert zarr_store.damage(path) is None


def test_zarr__a_row_of_chunks_is_one_file(
    hold: Make, info: Make, write: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zarr

    monkeypatch.setattr(zarr_store, "_CHUNK_BYTES", 4 * 3 * 16**2)
    data = np.random.default_rng(0).normal(size=(40, 3, 100)).astype(np.float32)
    for most, files in ((2**20, 3), (3 * 4 * 3 * 16**2, 9)):
        monkeypatch.setattr(zarr_store, "_SHARD_BYTES", most)
        write(hold(data), info(3), tmp_path / "map.zarr")
        array = zarr.open_group(tmp_path / "map.zarr", mode="r")["embeddings"]
        assert array.chunks == (3, 16, 16)
        np.testing.assert_array_equal(array[:], data.transpose(1, 0, 2))
        stored = [p for p in (tmp_path / "map.zarr" / "embeddings" / "c").rglob("*") if p.is_file()]
        assert len(stored) == files
