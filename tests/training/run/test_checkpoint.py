"""Checkpoints on disk: whole or not there, whatever happens while one is written."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from deo.errors import OutputError, WeightsError
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import Checkpoint, DamagedError

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
    (tmp_path / ".step-00000031.pt.0123cdef.new").write_bytes(b"half")
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


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_load__refuses_a_flipped_byte_anywhere(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, checkpoint_of(1), keep=1)
    whole = path.read_bytes()
    for position in (*range(0, len(whole), 97), *range(len(whole) - 75, len(whole))):
        flip(path, position)
        with pytest.raises(DamagedError, match=str(path)):
            checkpoints.load(path)
        path.write_bytes(whole)
    assert checkpoints.load(path).step == 1


@pytest.mark.parametrize("content", [b"", b"junk", -1, -80, -1000])
def test_load__says_that_a_checkpoint_is_cut_short(tmp_path: Path, content: bytes | int) -> None:
    path = checkpoints.save(tmp_path, checkpoint_of(1), keep=1)
    path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(DamagedError, match="cut short") as caught:
        checkpoints.load(path)
    assert len(str(caught.value)) < 300


def test_load__a_file_that_cannot_be_opened_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "step-00000001.pt").mkdir()
    for name in ("step-00000001.pt", "step-00000002.pt"):
        with pytest.raises(WeightsError, match=name) as caught:
            checkpoints.load(tmp_path / name)
        assert not isinstance(caught.value, DamagedError)


def test_newest__passes_over_damaged_ones_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoints.newest(tmp_path) is None
    paths = [checkpoints.save(tmp_path, checkpoint_of(step), keep=9) for step in (1, 2, 3, 4)]
    flip(paths[3], 500)
    paths[2].write_bytes(b"")
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.path, found.checkpoint.step) == (paths[1], 2)
    for path in paths[1:]:
        assert str(path) in caplog.text
    for path in paths[:2]:
        flip(path, 500)
    with pytest.raises(WeightsError, match=r"no checkpoint in .* is whole") as caught:
        checkpoints.newest(tmp_path)
    assert all(str(path) in str(caught.value) for path in paths)


def test_save__keeps_one_before_the_newest_and_none_after_it(tmp_path: Path) -> None:
    for step in (1, 2, 8):
        checkpoints.save(tmp_path, checkpoint_of(step), keep=1)
    checkpoints.save(tmp_path, checkpoint_of(5), keep=1)  # 8 was found damaged
    names = [path.name for path in checkpoints.saved(tmp_path)]
    assert names == ["step-00000002.pt", "step-00000005.pt"]


def test_checkpoint__reads_as_an_ordinary_file_of_pytorch(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, checkpoint_of(3), keep=1)
    for mapped in (False, True):
        content = torch.load(path, weights_only=True, mmap=mapped)
        assert content["state"]["weight"].tolist() == [3, 3, 3]
