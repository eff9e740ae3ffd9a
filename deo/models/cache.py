"""Converted weights, kept beside the Hub's cache so that the next load asks and hashes nothing."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import constants

from deo.errors import OutputError
from deo.files.documents import load_json
from deo.files.publish import write_file
from deo.models import convert, weight_files


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a finished fetch leaves behind.

    Args:
        asked: the source as it was asked for; a note of another source does not count.
        commit, file, sha256: what was downloaded.
        mapping: version of the conversion.
        converted, converted_sha256, size, mtime_ns: the converted file as it was written.
    """

    asked: str
    commit: str
    file: str
    sha256: str
    mapping: int
    converted: str
    converted_sha256: str
    size: int
    mtime_ns: int


def folder(cache_dir: str | Path | None) -> Path:
    """Where converted weights go: `DEO_CACHE`, or `deo` in `cache_dir` or in the Hub's home.

    Raises:
        OutputError: it cannot be made.
    """
    chosen = os.environ.get("DEO_CACHE")
    path = Path(chosen) if chosen else Path(cache_dir or constants.HF_HOME) / "deo"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the weights cache {path}: {error.strerror}; "
            "set DEO_CACHE or HF_HOME to a folder that can be written"
        ) from error
    return path


def recall(place: Path, name: str, asked: str) -> Note | None:
    """The note on this source, or None: absent, unreadable or of another source."""
    try:
        note = Note(**load_json(place / f"{name}.json"))
    except (OSError, ValueError, TypeError):
        return None
    return note if note.asked == asked else None


def is_intact(place: Path, name: str, note: Note) -> bool:
    """Whether the converted file is the one that was written.

    Size and time of change are compared; only a file that was touched since is hashed again.
    """
    path = place / note.converted
    if note.mapping != convert.VERSION or not path.is_file():
        return False
    status = path.stat()
    if status.st_size != note.size:
        return False
    if status.st_mtime_ns == note.mtime_ns:
        return True
    if weight_files.sha256(path) != note.converted_sha256:
        return False
    with suppress(OutputError):  # a cache that cannot be written is hashed every time
        _remember(place, name, replace(note, mtime_ns=status.st_mtime_ns))
    return True


def store(
    place: Path,
    name: str,
    tensors: Mapping[str, torch.Tensor],
    *,
    asked: str,
    commit: str,
    file: str,
    sha256: str,
) -> Note:
    """Write converted tensors, then the note that vouches for them.

    Raises:
        OutputError: the cache cannot be written.
    """
    path = place / f"{name}-{sha256[:16]}-v{convert.VERSION}.safetensors"
    weight_files.write(tensors, path, {"model": name, "source_sha256": sha256})
    status = path.stat()
    note = Note(
        asked=asked,
        commit=commit,
        file=file,
        sha256=sha256,
        mapping=convert.VERSION,
        converted=path.name,
        converted_sha256=weight_files.sha256(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )
    _remember(place, name, note)
    return note


def _remember(place: Path, name: str, note: Note) -> None:
    write_file(place / f"{name}.json", json.dumps(asdict(note), indent=1))
