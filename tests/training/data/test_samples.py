"""Samples: shards, HDF5, tars, scenes, and what each says when it is broken."""

import io
import json
import logging
import pickle
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.channels import AUTHORS_ORDER
from deo.training.data.cuts import SceneFolder, find_scenes
from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.samples import open_samples
from deo.training.data.shard_index import Index
from deo.training.data.shards import (
    Shards,
    ShardWriter,
    write_shards,
)
from deo.training.data.tars import TarStream

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


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_shards__give_back_what_was_written(tmp_path: Path, dtype: str) -> None:
    samples = [(sample % 251).astype(dtype) for sample in random_samples(7)]
    write_shards(tmp_path, samples, per_shard=3)
    shards = Shards(tmp_path)
    assert [shard.count for shard in shards.index.shards] == [3, 3, 1]
    assert len(shards) == 7
    for number in (6, 0, 3, 2):
        assert shards[number].dtype == dtype
        np.testing.assert_array_equal(shards[number], samples[number])
    shards.verify()


def test_shards__pick_bands_by_name(tmp_path: Path) -> None:
    sample = random_samples(1)[0]
    write_shards(tmp_path, [sample])
    picked = Shards(tmp_path, bands=BandSet(["B12", "B04"]))
    np.testing.assert_array_equal(picked[0], sample[[9, 0]])
    with pytest.raises(BandError, match="B01"):
        Shards(tmp_path, bands=BandSet(["B01"]))


def test_shards__survive_pickling(tmp_path: Path) -> None:
    samples = random_samples(2)
    write_shards(tmp_path, samples)
    shards = Shards(tmp_path)
    _ = shards[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(shards))[1], samples[1])


def test_shards__one_flipped_byte_is_found(tmp_path: Path) -> None:
    write_shards(tmp_path, random_samples(4))
    path = tmp_path / "shard-00000.bin"
    data = bytearray(path.read_bytes())
    data[2 * 1280 + 700] ^= 0x10  # sample 2 of 1280 bytes each
    path.write_bytes(data)
    shards = Shards(tmp_path)
    assert shards[1].shape == (10, 8, 8)
    with pytest.raises(DataError, match=r"sample 2 of .*shard-00000.bin does not match"):
        _ = shards[2]
    with pytest.raises(DataError, match="sample 2"):
        Shards(tmp_path).verify()


def test_shards__missing_index_is_said(tmp_path: Path) -> None:
    write_shards(tmp_path, random_samples(2))
    (tmp_path / "index.json").unlink()
    for open_it in (Shards, open_samples):
        with pytest.raises(DataError, match=r"has no index.json.*deo prepare"):
            open_it(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other", "version": 1}'])
def test_shards__broken_index_is_said(tmp_path: Path, text: str) -> None:
    write_shards(tmp_path, random_samples(2))
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DataError, match=r"index\.json"):
        Shards(tmp_path)


def test_shards__cut_or_missing_file_is_said(tmp_path: Path) -> None:
    write_shards(tmp_path, random_samples(2))
    path = tmp_path / "shard-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"2559 bytes.*2560"):
        Shards(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        Shards(tmp_path)


def test_write_shards__refuses_nothing_and_odd_types(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples"):
        write_shards(tmp_path / "a", [])
    with pytest.raises(DataError, match="float32"):
        write_shards(tmp_path / "b", [np.zeros((10, 4, 4), np.float32)])
    with pytest.raises(DataError, match="does not fit"):
        write_shards(tmp_path / "c", [*random_samples(1, 8), *random_samples(1, 9)])
    assert not list((tmp_path / "c").glob(".shard*"))


def test_shard_writer__an_error_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.bin"
    writer = ShardWriter(path, shape=(10, 8, 8), dtype="uint16")

    def stop_early() -> None:
        with writer:
            writer.append(random_samples(1)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_early()
    assert list(tmp_path.iterdir()) == []


def test_shard_writer__two_of_one_pid_do_not_meet(tmp_path: Path) -> None:
    """As processes of different containers on one file system have."""
    path, sample = tmp_path / "shard.bin", np.ones((1, 2, 2), np.uint8)
    with ShardWriter(path, shape=(1, 2, 2), dtype="uint8") as one:
        one.append(sample)
        with ShardWriter(path, shape=(1, 2, 2), dtype="uint8") as other:
            other.append(sample)
            other.append(sample)
        assert path.stat().st_size == 8
    assert path.stat().st_size == 4
    assert list(tmp_path.iterdir()) == [path]


def write_hdf5(path: Path, images: NDArray[Any], **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, **options)


def test_hdf5__thirteen_channels_are_the_authors(tmp_path: Path) -> None:
    images = np.stack(random_samples(3, channels=13))
    write_hdf5(tmp_path / "a.h5", images)
    samples = open_samples(tmp_path / "a.h5")
    np.testing.assert_array_equal(samples[2], images[2][[1, 2, 3, 4, 5, 6, 7, 8, 11, 12]])
    assert AUTHORS_ORDER[1:4] == ("B04", "B03", "B02")


def test_hdf5__names_in_the_attribute_win(tmp_path: Path) -> None:
    images = np.stack(random_samples(2, channels=13))
    write_hdf5(tmp_path / "a.h5", images)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["images"].attrs["bands"] = ",".join(ESA)
    samples = Hdf5Samples(tmp_path / "a.h5")
    np.testing.assert_array_equal(samples[0], images[0][[ESA.index(name) for name in MODEL_BANDS]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(samples))[1], samples[1])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"other": (2, 10, 4, 4)}, DataError, r"no dataset `images`.*other"),
        ({"images": (2, 10, 4)}, DataError, r"\(N, C, H, W\)"),
        ({"images": (2, 7, 4, 4)}, BandError, "7 channels without names"),
    ],
)
def test_hdf5__wrong_content_is_said(
    tmp_path: Path, content: dict[str, tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in content.items():
            file[name] = np.zeros(shape, np.uint16)
    with pytest.raises(error, match=message):
        open_samples(tmp_path / "a.h5")


def test_hdf5__not_hdf5_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        open_samples(tmp_path / "a.h5")


def test_hdf5__ruinous_chunks_warn_and_good_ones_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.stack(random_samples(64))
    write_hdf5(tmp_path / "good.h5", images, chunks=(1, 10, 8, 8))
    write_hdf5(tmp_path / "bad.h5", images, chunks=(64, 1, 4, 4), compression="gzip")
    with caplog.at_level(logging.WARNING):
        Hdf5Samples(tmp_path / "good.h5")
        assert not caplog.records
        Hdf5Samples(tmp_path / "bad.h5")
    assert "64 times its own size" in caplog.text
    assert "deo prepare" in caplog.text


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def test_tars__arrays_and_rasters_in_stream_order(tmp_path: Path) -> None:
    arrays = random_samples(4)
    thirteen = random_samples(1, channels=13)[0]
    write_scene(tmp_path / "one.tif", thirteen, names=ESA)
    write_tar(
        tmp_path / "a-000.tar",
        {f"{i}.npy": npy(a) for i, a in enumerate(arrays)} | {"0.json": b"{}"},
    )
    write_tar(tmp_path / "a-001.tar", {"x.tif": (tmp_path / "one.tif").read_bytes()})
    (tmp_path / "one.tif").unlink()
    stream = open_samples(tmp_path)
    assert isinstance(stream, TarStream)
    assert (len(stream), stream.run_length) == (5, 1024)
    np.testing.assert_array_equal(stream[3], arrays[3])
    np.testing.assert_array_equal(stream[4], thirteen[[ESA.index(name) for name in MODEL_BANDS]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stream))[0], arrays[0])


def test_tars__broken_ones_are_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "empty.tar", {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no \.npy or \.tif"):
        open_samples(tmp_path / "empty.tar")
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    with pytest.raises(DataError, match="not a readable uncompressed tar"):
        open_samples(tmp_path / "junk.tar")
    write_tar(tmp_path / "odd.tar", {"a.npy": npy(random_samples(1, channels=4)[0])})
    with pytest.raises(DataError, match=r"a\.npy in .*4 channels"):
        _ = open_samples(tmp_path / "odd.tar")[0]


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


def test_scenes__nothing_usable_is_said(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", random_samples(1, size=12, channels=13)[0], names=ESA)
    with pytest.raises(DataError, match="not one cut of 96 x 96"):
        open_samples(tmp_path)


def test_find_scenes__a_product_is_one_scene(tmp_path: Path) -> None:
    inside = tmp_path / "S2A.SAFE" / "GRANULE" / "B02.jp2"
    inside.parent.mkdir(parents=True)
    inside.touch()
    (tmp_path / "b_cm.tif").touch()
    assert [path.name for path in find_scenes(tmp_path)] == ["S2A.SAFE", "b_cm.tif"]
    assert find_scenes(tmp_path, "*_1_*.tif") == []


def test_open_samples__empty_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no samples"):
        open_samples(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_samples(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is not data this reader knows"):
        open_samples(tmp_path / "notes.txt")


def test_index__a_checksum_short_is_said(tmp_path: Path) -> None:
    write_shards(tmp_path, random_samples(2))
    found = json.loads((tmp_path / "index.json").read_text())
    found["shards"][0]["crc32"] = found["shards"][0]["crc32"][8:]
    (tmp_path / "index.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match="damaged"):
        Index.read(tmp_path)


def test_own_source__the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Path(__file__).parents[3] / "docs" / "data.md"
    code = document.read_text().split("```python\n")[1].split("```")[0]
    assert code.count("\n") <= 26
    (tmp_path / "my_data.py").write_text(code.replace("/data/mine", str(tmp_path)))
    sample = random_samples(1)[0]
    np.savez(tmp_path / "a.npz", **dict(zip(MODEL_BANDS, sample, strict=True)))
    monkeypatch.syspath_prepend(str(tmp_path))
    samples = open_samples("my_data:open_mine")
    assert len(samples) == 1
    np.testing.assert_array_equal(samples[0], sample)
    for wrong in ("my_data:missing", "no_such_module:x", "my_data:Mine"):
        with pytest.raises(DataError, match="names no callable that returns samples"):
            open_samples(wrong)
