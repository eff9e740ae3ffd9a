"""Samples read per second: shards against HDF5 and tars, taken in turns in one run.

    python tests/benchmarks/store.py [--samples 1500] [--rounds 5] [--size 96]

Random order, warm page cache, one process, one thread. `checked` reads each sample's CRC too, as
the first pass over the data does; later passes do not.
"""

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.shards import Shards, write_shards
from deo.training.data.tars import TarStream

Read = Callable[[int], NDArray[Any]]


def write_everything(folder: Path, samples: NDArray[np.uint16]) -> None:
    write_shards(folder / "shards", list(samples))
    with h5py.File(folder / "chunked.h5", "w") as file:
        file.create_dataset("images", data=samples, chunks=(1, *samples.shape[1:]))
    with tarfile.open(folder / "samples.tar", "w") as tar:
        for number, sample in enumerate(samples):
            buffer = io.BytesIO()
            np.save(buffer, sample)
            info = tarfile.TarInfo(f"{number:06d}.npy")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)


def readers(folder: Path) -> dict[str, Callable[[], Read]]:
    """Name -> what makes a fresh reader."""
    kept, tars = Hdf5Samples(folder / "chunked.h5"), TarStream([folder / "samples.tar"])
    warm = Shards(folder / "shards")
    warm.verify()
    for number in range(len(warm)):
        _ = warm[number]

    def reopened(number: int) -> NDArray[Any]:
        with h5py.File(folder / "chunked.h5", "r") as file:
            found: NDArray[Any] = file["images"][number]
            return found

    return {
        "shards": lambda: warm.__getitem__,
        "shards, checked": lambda: Shards(folder / "shards").__getitem__,
        "HDF5, handle kept": lambda: kept.__getitem__,
        "tar": lambda: tars.__getitem__,
        "HDF5, re-opened per item": lambda: reopened,
    }


def rate(read: Read, order: list[int]) -> float:
    """Samples per second, each copied out as a batch would."""
    out = np.empty_like(read(order[0]))
    began = time.perf_counter()
    for number in order:
        np.copyto(out, read(number))
    return len(order) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.samples, 10, arguments.size, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        write_everything(Path(folder), rng.integers(0, 9000, shape, dtype=np.uint16))
        make = readers(Path(folder))
        rates: dict[str, list[float]] = {name: [] for name in make}
        for _ in range(arguments.rounds):
            order = rng.permutation(arguments.samples).tolist()
            for name, fresh in make.items():
                rates[name].append(rate(fresh(), order))
    slowest = rates["HDF5, re-opened per item"]
    print(f"samples of 10 x {arguments.size} x {arguments.size} uint16, median of rounds")
    print(f"{'':26s}{'samples/s':>10s}  {'times HDF5 re-opened':>20s}")
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, slowest, strict=True))
        print(f"{name:26s}{statistics.median(found):10.0f}  {ratio:20.1f}")


if __name__ == "__main__":
    main()
