"""The index of a folder of shards: which files, how many samples, their checksums."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from deo.errors import DataError
from deo.files.documents import load_json
from deo.files.publish import write_file

INDEX_NAME = "index.json"
SHARD_DTYPES = ("uint8", "uint16")
_FORMAT = "deo-shards"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file: its name, how many samples it holds, eight hexadecimal digits of CRC for each."""

    file: str
    count: int
    crc32: str

    def __post_init__(self) -> None:
        if len(self.crc32) != 8 * self.count:
            raise DataError(
                f"index lists {len(self.crc32) / 8:g} checksums for the {self.count} samples of "
                f"{self.file}; the index is damaged, prepare the shards again"
            )


@dataclass(frozen=True, kw_only=True)
class Index:
    """What a folder of shards holds.

    Args:
        bands: ESA names in the order of the first axis.
        shape: (C, H, W) of every sample.
        details: anything the maker wants to keep (statistics, origin); not interpreted.
    """

    dtype: str
    shape: tuple[int, int, int]
    bands: tuple[str, ...]
    shards: tuple[Shard, ...]
    details: dict[str, Any]

    def __post_init__(self) -> None:
        if self.dtype not in SHARD_DTYPES:
            known = " and ".join(SHARD_DTYPES)
            raise DataError(f"the index names shards of type {self.dtype}; shards hold {known}")
        if len(self.bands) != self.shape[0]:
            raise DataError(f"{len(self.bands)} bands are named for samples of shape {self.shape}")

    @property
    def sample_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def write(self, folder: Path) -> None:
        """Write `index.json` atomically."""
        text = json.dumps({"format": _FORMAT, "version": _VERSION, **asdict(self)}, indent=1)
        write_file(folder / INDEX_NAME, text + "\n")

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any sample."""
        checksums = "".join(shard.crc32 for shard in self.shards)
        text = f"{self.dtype} {self.shape} {self.bands} {checksums}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check `index.json`.

        Raises:
            DataError: there is no index, or it is not one of ours.
        """
        path = folder / INDEX_NAME
        if not path.is_file():
            raise DataError(
                f"{folder} has no {INDEX_NAME}: it is not a folder of shards, or `deo prepare` "
                "has not finished there; run the same `deo prepare` command again"
            )
        try:
            fields = load_json(path)
        except (OSError, DataError) as error:
            raise DataError(f"{error}; prepare the shards again") from error
        try:
            if (fields.pop("format"), fields.pop("version")) != (_FORMAT, _VERSION):
                raise DataError(f"{path} is not an index of {_FORMAT} version {_VERSION}")
            fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
            fields["shape"], fields["bands"] = tuple(fields["shape"]), tuple(fields["bands"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} lacks a field or has a wrong one ({error}); prepare the shards again"
            ) from error
