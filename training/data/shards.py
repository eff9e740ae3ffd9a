"""Raw shards: flat uint8/uint16 files, memory-mapped, with one JSON index and a CRC per sample.

A folder of shards holds `shard-00000.bin`, ... (samples in C order, little-endian, nothing else)
and `index.json`, which is written last: a folder without it is not finished.
"""

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.files import atomic
from deo.files.publish import disk_errors, make_folder
from deo.training.data.shard_index import INDEX_NAME, SHARD_DTYPES, Index, Shard


class Shards:
    """Samples of a folder of shards by number: `len(shards)`, `shards[i]`.

    Each sample's CRC is compared the first time this process reads it (83 µs for 10 x 96 x 96
    uint16); later reads cost a slice of the memory map. Safe to fork and to pickle.

    Args:
        folder: made by `deo prepare` or `write_shards`.
        bands: bands and order wanted; they may be any of those stored.

    Raises:
        DataError: no index, a file missing or of the wrong length; on reading, a wrong CRC.
        BandError: a band is not stored.
    """

    def __init__(self, folder: str | Path, *, bands: BandSet = MODEL_BANDS) -> None:
        self.folder, self.bands = Path(folder), bands
        self.index = Index.read(self.folder)
        try:
            positions = bands.positions_in(self.index.bands)
        except BandError as error:
            raise BandError(f"{self.folder}: {error}") from error
        self._positions = None if positions == tuple(range(len(self.index.bands))) else positions
        counts = [shard.count for shard in self.index.shards]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._crc = [
            np.frombuffer(bytes.fromhex(shard.crc32), dtype=">u4") for shard in self.index.shards
        ]
        self._maps: dict[int, NDArray[Any]] = {}
        self._checked = np.zeros(len(self), dtype=bool)
        for shard in self.index.shards:
            self._check_length(shard)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W), read-only unless bands are picked."""
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        position = int(np.searchsorted(self._starts, number, side="right")) - 1
        row = number - int(self._starts[position])
        sample: NDArray[Any] = self._map(position)[row]
        if not self._checked[number]:
            self._check(sample, position, row)
            self._checked[number] = True
        return sample if self._positions is None else sample[list(self._positions)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.bands)

    def verify(self) -> None:
        """Compare every checksum.

        Raises:
            DataError: the first sample that differs.
        """
        for position, shard in enumerate(self.index.shards):
            for row in range(shard.count):
                self._check(self._map(position)[row], position, row)

    def _map(self, position: int) -> NDArray[Any]:
        if position not in self._maps:
            shard = self.index.shards[position]
            mapped = np.memmap(
                self.folder / shard.file,
                dtype=np.dtype(self.index.dtype).newbyteorder("<"),
                mode="r",
                shape=(shard.count, *self.index.shape),
            )
            # a plain array over the same memory: np.memmap's own slicing costs 5 µs more
            self._maps[position] = np.asarray(mapped)
        return self._maps[position]

    def _check(self, sample: NDArray[Any], position: int, row: int) -> None:
        if zlib.crc32(sample.data) != int(self._crc[position][row]):
            path = self.folder / self.index.shards[position].file
            raise DataError(
                f"sample {row} of {path} does not match its checksum: the file was damaged after "
                "it was written. Restore it, or delete it with its .json and run the same "
                "`deo prepare` command again, which remakes only that shard"
            )

    def _check_length(self, shard: Shard) -> None:
        path = self.folder / shard.file
        wanted = shard.count * self.index.sample_bytes
        if not path.is_file():
            raise DataError(
                f"{path} is named in {INDEX_NAME} but missing; prepare the shards again"
            )
        if path.stat().st_size != wanted:
            raise DataError(
                f"{path} has {path.stat().st_size} bytes, {INDEX_NAME} says {wanted}: "
                "it is cut short or comes from another run; prepare the shards again"
            )


def _reopen(folder: Path, bands: BandSet) -> Shards:
    return Shards(folder, bands=bands)


class ShardWriter:
    """Writes one shard under a temporary name; it appears when the `with` block ends well.

    Args:
        path: the shard's final path.
        shape: (C, H, W) of every sample.
        dtype: `uint8` or `uint16`.
    """

    def __init__(self, path: Path, *, shape: tuple[int, int, int], dtype: str) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype).newbyteorder("<")
        self._crc: list[str] = []

    def __enter__(self) -> Self:
        with disk_errors(self.path), contextlib.ExitStack() as stack:
            new = stack.enter_context(atomic.written(self.path))
            self._file = stack.enter_context(new.open("wb"))
            self._closing = stack.pop_all()
        return self

    def append(self, sample: NDArray[Any]) -> None:
        """Add one sample; it must already have the shard's shape and type."""
        if sample.shape != self.shape or sample.dtype != self.dtype:
            raise DataError(
                f"a sample of {sample.shape} {sample.dtype} does not fit the shard's "
                f"{self.shape} {self.dtype}"
            )
        data = np.ascontiguousarray(sample, dtype=self.dtype).data
        with disk_errors(self.path):
            self._file.write(data)
        self._crc.append(f"{zlib.crc32(data):08x}")

    @property
    def shard(self) -> Shard:
        """What the index says of this file."""
        return Shard(file=self.path.name, count=len(self._crc), crc32="".join(self._crc))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            with disk_errors(self.path):
                self._closing.close()
        else:
            self._closing.__exit__(kind, error, traceback)


def write_shards(
    folder: str | Path,
    samples: Iterable[NDArray[Any]],
    *,
    bands: Sequence[str] = MODEL_BANDS.names,
    per_shard: int = 4096,
    details: dict[str, Any] | None = None,
) -> Index:
    """Write arrays (C, H, W) of one shape and type as a folder of shards.

    Raises:
        DataError: there are no samples, or they differ in shape or type.
        OutputError: the folder cannot be written.
    """
    folder, iterator = make_folder(Path(folder)), iter(samples)
    first = next(iterator, None)
    if first is None:
        raise DataError(f"there are no samples to write to {folder}")
    _, height, width = first.shape
    shape, dtype = (len(bands), height, width), first.dtype.name
    if dtype not in SHARD_DTYPES:
        raise DataError(f"samples of type {dtype}; shards hold {' or '.join(SHARD_DTYPES)}")
    shards: list[Shard] = []
    pending: NDArray[Any] | None = first
    while pending is not None:
        path = folder / f"shard-{len(shards):05d}.bin"
        with ShardWriter(path, shape=shape, dtype=dtype) as writer:
            for _ in range(per_shard):
                writer.append(pending)
                pending = next(iterator, None)
                if pending is None:
                    break
        shards.append(writer.shard)
    index = Index(
        dtype=dtype, shape=shape, bands=tuple(bands), shards=tuple(shards), details=details or {}
    )
    index.write(folder)
    return index
