"""Checkpoints: written atomically, the last few kept, and everything a run needs to go on.

A checkpoint is one file `step-00001234.pt` of plain tensors, numbers and strings (read with
`weights_only=True`), with the SHA-256 of all that as its last line: PyTorch does not look at the
checksums of its own format, and some bytes have none. It holds no frozen teacher: that one is
loaded again from its own source.
"""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import torch

from deo.errors import OutputError, WeightsError
from deo.files import atomic

log = logging.getLogger(__name__)

CHECKPOINTS_NAME = "checkpoints"
"""The folder of them inside a run's."""

LEAST_KEPT = 2
"""One that is damaged must have another before it."""

_NAME = re.compile(r"step-(\d{8,})\.pt")
_SEAL = b"\nsha256 "
_SEAL_LENGTH = len(_SEAL) + 64 + 1
_BLOCK = 2**20


class DamagedError(WeightsError):
    """A checkpoint is not, or not wholly, what was written."""


class Found(NamedTuple):
    """A checkpoint and where it was read."""

    path: Path
    checkpoint: "Checkpoint"


class Checkpoint(NamedTuple):
    """A checkpoint as read.

    Args:
        step: steps finished.
        config: the run's whole configuration as nested tables.
        data: what identifies the data.
        state: what is needed to go on, by name; of pretraining a `Snapshot`.
        randomness: one entry of `deo.training.run.snapshot.random_state` per rank.
        custom: what identifies a teacher and a view maker of one's own; empty without.
    """

    step: int
    config: dict[str, Any]
    data: dict[str, Any]
    state: dict[str, Any]
    randomness: list[dict[str, Any]]
    custom: dict[str, Any] = {}


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint under a temporary name, flush it to disk, rename it; drop the oldest.

    A kill at any moment leaves the checkpoints that were there before. Later ones than this are
    dropped as well: a run walks a stretch again only where those were found damaged.

    Args:
        keep: how many stay, `LEAST_KEPT` at least.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = folder / f"step-{checkpoint.step:08d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic.written(path) as new, new.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(checkpoint._asdict(), cast(IO[bytes], hashing))
            file.write(hashing.seal())
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise OutputError(
            f"cannot save {path}: {error}. The checkpoints before it are intact"
        ) from error
    # only now: until the new one is on disk, the old ones are all there is
    complete = saved(folder)
    end = complete.index(path) + 1
    for old in (*complete[:end][: -max(keep, LEAST_KEPT)], *complete[end:]):
        old.unlink()
    return path


def saved(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, oldest first."""
    checkpoints = [path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name)]
    return sorted(checkpoints, key=lambda path: int(path.stem.removeprefix("step-")))


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed save left behind."""
    atomic.remove_unfinished(folder, _NAME.pattern)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, once its checksum is known to be right.

    Raises:
        DamagedError: its content is not what was written, or it is not one of ours.
        WeightsError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            _check_seal(path, file)
        # a checksum proves no origin: nothing but tensors and plain values comes to life
        content = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**content)
    except (DamagedError, MemoryError):
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # pickle, zip, torch and failing disks each raise their own kinds
        raise DamagedError(
            f"{path} cannot be read as a checkpoint of this version of deo ({type(error).__name__})"
        ) from error


def newest(folder: Path) -> Found | None:
    """The newest checkpoint that is whole; a damaged one is passed over, and a warning says so.

    Returns:
        None where there is no checkpoint at all.

    Raises:
        WeightsError: there are checkpoints, and none of them is whole.
    """
    faults: list[str] = []
    for path in reversed(saved(folder)):
        try:
            checkpoint = load(path)
        except DamagedError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            log.warning("%s; going on from the checkpoint before it, %s", fault, path)
        return Found(path, checkpoint)
    if faults:
        raise WeightsError(
            f"no checkpoint in {folder} is whole: {'; '.join(faults)}. Put a copy of one back, "
            "or start again in another folder"
        )
    return None


class _Hashing:
    """Takes the SHA-256 of what is written to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sha.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def seal(self) -> bytes:
        """The line that ends a whole checkpoint."""
        return _SEAL + self._sha.hexdigest().encode() + b"\n"


def _check_seal(path: Path, file: BinaryIO) -> None:
    left = os.fstat(file.fileno()).st_size - _SEAL_LENGTH
    sha = hashlib.sha256()
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        sha.update(block)
        left -= len(block)
    seal = file.read()
    if left or not seal.startswith(_SEAL):
        raise DamagedError(f"{path} is cut short, or no checkpoint of deo: it lacks its checksum")
    if seal != _SEAL + sha.hexdigest().encode() + b"\n":
        raise DamagedError(f"{path} is damaged: it does not match its checksum")
