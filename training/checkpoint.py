"""Checkpoints: written atomically, the last few kept, and everything a run needs to go on.

A checkpoint is one file `step-00001234.pt` of plain tensors, numbers and strings (read with
`weights_only=True`). It holds no frozen teacher: that one is loaded again from its own source.
"""

import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from deo.errors import OutputError, WeightsError
from deo.training.shards import unfinished_name

CHECKPOINTS_NAME = "checkpoints"
"""The folder of them inside a run's."""

_NAME = re.compile(r"step-(\d{8,})\.pt")


class Checkpoint(NamedTuple):
    """A checkpoint as read.

    Args:
        step: steps finished.
        config: the run's whole configuration as nested tables.
        data: what identifies the data.
        state: what `State` needs to go on, by name.
        randomness: one entry of `random_state` per rank.
    """

    step: int
    config: dict[str, Any]
    data: dict[str, Any]
    state: dict[str, Any]
    randomness: list[dict[str, Any]]


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint under a temporary name, flush it to disk, rename it; drop the oldest.

    A kill at any moment leaves the checkpoints that were there before.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = folder / f"step-{checkpoint.step:08d}.pt"
    temporary = unfinished_name(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(checkpoint._asdict(), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(folder)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot save {path}: {error}. The checkpoints before it are intact"
        ) from error
    for old in saved(folder)[:-keep]:
        old.unlink()
    return path


def saved(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("step-")))


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed save left behind."""
    for path in folder.glob(".step-*.pt.*"):
        path.unlink(missing_ok=True)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        WeightsError: the file is damaged or is not one of ours.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**found)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist") from None
    except Exception as error:  # pickle, zip and torch each raise their own kinds
        raise WeightsError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {error}). "
            "Delete it to go on from the one before"
        ) from error


def random_state() -> dict[str, Any]:
    """The state of every global generator of this process."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    words = np.asarray(keys).astype(np.int64)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(words), position, has_gauss, gauss],
        "python": list(random.getstate()),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put every global generator back."""
    torch.set_rng_state(state["torch"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
