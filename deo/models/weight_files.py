"""Weight files on disk: read without trust, written whole or not at all."""

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from deo.errors import WeightsError
from deo.files.atomic import written
from deo.files.publish import disk_errors


class Stored(NamedTuple):
    """What a weight file holds: a state dict or a training checkpoint, and its metadata.

    `metadata` is None for PyTorch files, which have none.
    """

    content: Mapping[str, Any]
    metadata: dict[str, str] | None


def read(path: Path, *, verified: bool = False) -> Stored:
    """Read a safetensors file or a PyTorch checkpoint; the content decides, not the suffix.

    Tensors are mapped into memory where the format allows it. Pickled objects other than
    tensors, plain containers and `argparse.Namespace` (training checkpoints carry one) are
    refused before they come to life.

    Args:
        path: the file.
        verified: its hash was checked, so checksums inside it need not be.

    Raises:
        WeightsError: the file is absent, unreadable, damaged, or holds anything else.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror}") from error
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head[:2] == b"PK":
        if not verified:
            _refuse_bad_checksums(path)
        return _read_pytorch(path, mapped=True)
    if head[:1] == b"\x80":
        return _read_pytorch(path, mapped=False)
    raise WeightsError(
        f"{path} is neither a safetensors file nor a PyTorch checkpoint "
        f"({path.stat().st_size} bytes, beginning {head!r})"
    )


def model_named_in(path: Path) -> str | None:
    """The backbone that a file says its weights are for; None where it does not say."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("model")
    except (SafetensorError, OSError):  # reading the weights tells what is wrong with it
        return None


def write(tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; it appears under its name only when it is complete.

    Raises:
        OutputError: it cannot be written there.
    """
    alone = {name: _alone(tensor) for name, tensor in tensors.items()}
    with disk_errors(path), written(path) as new:
        save_file(alone, new, metadata={"format": "pt", **metadata})


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: Path) -> Stored:
    try:
        with safe_open(path, framework="pt") as file:
            return Stored(
                content={name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
                metadata=file.metadata() or {},
            )
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is a damaged or truncated safetensors file ({error}); fetch it again"
        ) from error


def _refuse_bad_checksums(path: Path) -> None:
    """PyTorch writes a CRC-32 per tensor and does not look at it when it reads."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise WeightsError(
            f"{path} is a damaged or truncated PyTorch checkpoint ({error}); fetch it again"
        ) from error
    if bad is not None:
        raise WeightsError(f"{path} is damaged (checksum of {bad} is wrong); fetch it again")


def _read_pytorch(path: Path, *, mapped: bool) -> Stored:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors and is not loaded: {_foreign_objects(path, error)}. "
            "Unpickling it could run code of its author"
        ) from error
    except Exception as error:  # a malformed pickle may raise anything at all
        raise WeightsError(
            f"{path} is not a readable PyTorch checkpoint "
            f"({type(error).__name__}: {_first_line(error)}); fetch it again"
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not tensors under names; "
            "save a state dict instead"
        )
    return Stored(content=content, metadata=None)


def _foreign_objects(path: Path, error: Exception) -> str:
    """What the pickle wanted to import, as far as it can be told without doing it."""
    try:
        imports = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # same reason; the older format has no such listing
        imports = set(re.findall(r"GLOBAL (\S+) was not an allowed global", str(error)))
    imports.discard("argparse.Namespace")
    return f"pickled {', '.join(sorted(imports)[:3]) or 'objects of other types'}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on CPU, contiguous, sharing no storage with another."""
    tensor = tensor.detach().cpu().contiguous()
    shared = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
    return tensor.clone() if shared else tensor
