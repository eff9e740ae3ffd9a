"""Shards: written, read back, and damaged."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import BandError, DataError
from deo.training.data.shards import (
    Shards,
    ShardWriter,
    write_shards,
)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_shards__give_back_what_was_written(tmp_path: Path, dtype: str, make: Any) -> None:
    samples = [(sample % 251).astype(dtype) for sample in make.samples(7)]
    write_shards(tmp_path, samples, per_shard=3)
    shards = Shards(tmp_path)
    assert [shard.count for shard in shards.index.shards] == [3, 3, 1]
    assert len(shards) == 7
    for number in (6, 0, 3, 2):
        assert shards[number].dtype == dtype
        np.testing.assert_array_equal(shards[number], samples[number])
    shards.verify()


def test_shards__pick_bands_by_name(tmp_path: Path, make: Any) -> None:
    sample = make.samples(1)[0]
    write_shards(tmp_path, [sample])
    picked = Shards(tmp_path, bands=BandSet(["B12", "B04"]))
    np.testing.assert_array_equal(picked[0], sample[[9, 0]])
    with pytest.raises(BandError, match="B01"):
        Shards(tmp_path, bands=BandSet(["B01"]))


def test_shards__survive_pickling(tmp_path: Path, make: Any) -> None:
    samples = make.samples(2)
    write_shards(tmp_path, samples)
    shards = Shards(tmp_path)
    _ = shards[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(shards))[1], samples[1])


def test_shards__one_flipped_byte_is_found(tmp_path: Path, make: Any) -> None:
    write_shards(tmp_path, make.samples(4))
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


def test_shards__cut_or_missing_file_is_said(tmp_path: Path, make: Any) -> None:
    write_shards(tmp_path, make.samples(2))
    path = tmp_path / "shard-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"2559 bytes.*2560"):
        Shards(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        Shards(tmp_path)


def test_write_shards__refuses_nothing_and_odd_types(tmp_path: Path, make: Any) -> None:
    with pytest.raises(DataError, match="no samples"):
        write_shards(tmp_path / "a", [])
    with pytest.raises(DataError, match="float32"):
        write_shards(tmp_path / "b", [np.zeros((10, 4, 4), np.float32)])
    with pytest.raises(DataError, match="does not fit"):
        write_shards(tmp_path / "c", [*make.samples(1, 8), *make.samples(1, 9)])
    assert not list((tmp_path / "c").glob(".shard*"))


def test_shard_writer__an_error_leaves_no_file(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "shard-00000.bin"
    writer = ShardWriter(path, shape=(10, 8, 8), dtype="uint16")

    def stop_early() -> None:
        with writer:
            writer.append(make.samples(1)[0])
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
