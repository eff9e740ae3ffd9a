"""Checkpoints on disk: whole or not there, whatever happens while one is written."""

import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from deo.errors import OutputError, WeightsError
from deo.training import checkpoint as checkpoints
from deo.training.checkpoint import Checkpoint

FORK = multiprocessing.get_context("fork")


def checkpoint_of(step: int) -> Checkpoint:
    return Checkpoint(step, {}, {}, {"weight": torch.full((3,), float(step))}, [])


def test_save__keeps_the_last_and_no_unfinished(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        checkpoints.save(tmp_path, checkpoint_of(step), keep=2)
    assert [path.name for path in checkpoints.saved(tmp_path)] == [
        "step-00000002.pt",
        "step-00000030.pt",
    ]
    (tmp_path / ".step-00000031.pt.77").write_bytes(b"half")
    checkpoints.remove_unfinished(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def kill_in_save(folder: Path) -> None:
    real = os.fsync
    os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    checkpoints.save(folder, checkpoint_of(2), keep=1)
    os.fsync = real


def test_save__killed_in_the_middle_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, checkpoint_of(1), keep=1)
    process = FORK.Process(target=kill_in_save, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (path,) = checkpoints.saved(tmp_path)
    assert checkpoints.load(path).state["weight"].tolist() == [1, 1, 1]
    assert len(list(tmp_path.iterdir())) == 2
    checkpoints.remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_save__a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(tmp_path, checkpoint_of(1), keep=1)

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"No space left.*are intact"):
        checkpoints.save(tmp_path, checkpoint_of(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.pt"]


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_load__a_damaged_checkpoint_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = checkpoints.save(tmp_path, checkpoint_of(1), keep=1)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(WeightsError, match="Delete it to go on from the one before"):
        checkpoints.load(path)


def test_random_state__comes_back() -> None:
    saved = checkpoints.random_state()
    first = (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())
    checkpoints.restore_random_state(saved)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == first
