"""Equal content is equal data, wherever it lies; of other data it is said what differs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.identity import (
    COMPARED,
    changed_data,
    named_identity,
    sample_checksum,
    samples_identity,
    summary,
)
from deo.training.data.samples import open_samples
from deo.training.data.shards import Shards, write_shards


def pixels(count: int = 6, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 4000, (count, 10, 8, 8)).astype(np.uint16)


def test_samples_identity__of_shards_names_the_shard_that_differs(tmp_path: Path) -> None:
    first = pixels()
    write_shards(tmp_path / "a", list(first), per_shard=2)
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    second = first.copy()
    second[3, 0, 0, 0] += 1
    write_shards(tmp_path / "b", list(second), per_shard=2)
    a, moved, b = (samples_identity(Shards(tmp_path / name)) for name in ("a", "moved", "b"))
    assert changed_data(a, moved) == []
    lines = changed_data(a, b)
    assert lines[0].startswith("data, fingerprint:")
    assert lines[1] == "data, what differs: shard-00001.bin (other content)"
    write_shards(tmp_path / "c", list(first[:4]), per_shard=2)
    assert (
        "shard-00002.bin (missing)" in changed_data(a, samples_identity(Shards(tmp_path / "c")))[2]
    )
    assert summary(a) == {"samples": 6, "fingerprint": Shards(tmp_path / "a").index.fingerprint}


def test_samples_identity__of_hdf5_is_its_content(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for name, seed in (("a", 0), ("copy", 0), ("b", 1)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["images"] = pixels(seed=seed)
    a, copy, b = (
        samples_identity(Hdf5Samples(tmp_path / f"{name}.h5")) for name in ("a", "copy", "b")
    )
    assert changed_data(a, copy) == []
    assert "sample 0 (other content)" in changed_data(a, b)[1]


def test_samples_identity__of_tars_is_their_content(tmp_path: Path) -> None:
    import io
    import tarfile

    for name, seed in (("a", 0), ("b", 1)):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for number, sample in enumerate(pixels(seed=seed)):
                data = io.BytesIO()
                np.save(data, sample)
                entry = tarfile.TarInfo(f"{number}.npy")
                entry.size = data.tell()
                data.seek(0)
                tar.addfile(entry, data)
    a, b = (samples_identity(open_samples(tmp_path / f"{name}.tar")) for name in ("a", "b"))
    assert "other content" in changed_data(a, b)[1]


class Store:
    def __init__(self, *, count: int, random: bool = False) -> None:
        self.count, self.random, self.reads = count, random, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> NDArray[Any]:
        self.reads += 1
        return np.full((2, 2, 2), self.reads if self.random else number)


def test_samples_identity__of_ones_own_store_reads_a_few_samples() -> None:
    store = Store(count=100_000)
    samples_identity(store)
    assert store.reads <= COMPARED + 2
    drawn = [samples_identity(Store(count=5, random=True)) for _ in range(2)]
    assert drawn == [{"samples": 5}] * 2
    assert changed_data(drawn[0], samples_identity(Store(count=6, random=True))) == [
        "data, samples: 5 -> 6"
    ]


def test_named_identity__says_new_missing_and_other() -> None:
    before = named_identity({"a": "1", "b": "2", "c": "3"})
    now = named_identity({"a": "1", "b": "0", "d": "4"})
    assert changed_data(before, now)[1] == (
        "data, what differs: b (other content), c (missing), d (new)"
    )
    many = changed_data(named_identity({}), named_identity({str(n): "0" for n in range(9)}))
    assert many[-1].endswith("and 4 more")
    assert changed_data(before, named_identity({"b": "2", "a": "1", "c": "3"}))  # another order


def test_sample_checksum__heeds_shape_type_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [array.reshape(2, 3), array.astype(np.float64), array + 1, array[::-1]]
    assert len({sample_checksum(each) for each in (array, *others)}) == 5
    assert sample_checksum(array[::2]) == sample_checksum(array[::2].copy())
