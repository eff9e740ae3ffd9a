"""A folder is one run's: a second is refused, and a killed one lets go at once."""

import errno
import fcntl
import logging
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from deo.errors import BusyError, OutputError
from deo.training.run.claim import LOCK_NAME, claim

FORK = multiprocessing.get_context("fork")


def test_claim__is_for_one_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path):
        with pytest.raises(BusyError, match="another run is writing") as caught, claim(tmp_path):
            pass
        assert caught.value.retriable
    with claim(tmp_path):
        pass


def hold(folder: Path, said: Connection) -> None:
    """A run with a reading process of its own that outlives it."""
    with claim(folder):
        reader = FORK.Process(target=time.sleep, args=(60,))
        reader.start()
        said.send(reader.pid)
        time.sleep(60)


def test_claim__a_killed_run_lets_go_though_its_readers_live(tmp_path: Path) -> None:
    heard, said = FORK.Pipe()
    process = FORK.Process(target=hold, args=(tmp_path, said))
    process.start()
    reader = heard.recv()
    try:
        with pytest.raises(BusyError), claim(tmp_path):
            pass
        process.kill()
        process.join()
        with claim(tmp_path):
            pass
    finally:
        os.kill(reader, signal.SIGKILL)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_claim__goes_on_where_there_are_no_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), claim(tmp_path):
        assert "knows no locks" in caplog.text


def test_claim__does_not_follow_a_planted_link(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="cannot write to"), claim(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
