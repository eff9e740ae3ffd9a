import errno
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from deo.errors import BusyError, OutputError
from deo.files import lock as locks
from deo.files.lock import CLAIM, claim, lock

fcntl = pytest.importorskip("fcntl", reason="locks of POSIX")
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refuse(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(locks, "_warned", set())


def test_lock__is_for_one_at_a_time_and_goes_with_its_folder(tmp_path: Path) -> None:
    held = lock(tmp_path / "p")
    with pytest.raises(BusyError, match="another run is writing to"):
        lock(tmp_path / "p")
    held.renew()
    held.remove()
    (tmp_path / "p").rmdir()
    lock(tmp_path / "p").release()
    lock(tmp_path / "p").release()


def test_lock__is_not_taken_of_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run deletes the folder between our opening the file and our locking it."""
    flock, gone = fcntl.flock, []

    def late(file: Any, operation: int) -> None:
        if not gone:
            gone.append((tmp_path / "p" / "lock").unlink())
            (tmp_path / "p").rmdir()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    held = lock(tmp_path / "p")
    assert (tmp_path / "p" / "lock").exists()
    held.release()


@pytest.mark.usefixtures("lockless")
def test_lock__without_locks_a_file_keeps_others_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = lock(tmp_path / "p")
    with pytest.raises(BusyError, match=rf"process {os.getpid()} on .*delete .*owner"):
        lock(tmp_path / "p")
    held.renew()
    held.remove()
    (tmp_path / "p").rmdir()
    lock(tmp_path / "q").release()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has no locks" in caplog.text


@pytest.mark.usefixtures("lockless")
@pytest.mark.parametrize(
    ("host", "alive", "idle", "busy"),
    [
        ("here", True, 0, True),
        ("here", True, 10**6, True),
        ("here", False, 0, False),
        ("elsewhere", False, 0, True),
        ("elsewhere", False, 10**6, False),
        (None, False, 0, True),  # its run was killed before it had written its name
        (None, False, 10**6, False),
    ],
)
def test_lock__without_locks_takes_over_from_the_dead_alone(
    tmp_path: Path, host: str | None, alive: bool, idle: int, busy: bool
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "p").mkdir()
    owner = tmp_path / "p" / "owner"
    name = socket.gethostname() if host == "here" else host
    facts = {"host": name, "pid": os.getpid() if alive else ended.pid, "token": "theirs"}
    owner.write_text("" if host is None else json.dumps(facts))
    os.utime(owner, (time.time() - idle,) * 2)
    if busy:
        with pytest.raises(BusyError):
            lock(tmp_path / "p")
        return
    held = lock(tmp_path / "p")
    assert json.loads(owner.read_text())["pid"] == os.getpid()
    held.release()
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["lock"]


@pytest.mark.usefixtures("lockless")
def test_lock__without_locks_a_run_notices_that_it_was_taken_for_dead(tmp_path: Path) -> None:
    held = lock(tmp_path / "p")
    facts = {"host": "elsewhere", "pid": 1, "token": "theirs"}
    (tmp_path / "p" / "owner").write_text(json.dumps(facts))
    with pytest.raises(BusyError, match="taken"):
        held.renew()
    held.remove()
    assert (tmp_path / "p" / "owner").exists()


@pytest.mark.usefixtures("lockless")
def test_lock__without_locks_one_of_many_threads_gets_it(tmp_path: Path) -> None:
    got: list[str] = []

    def attempt() -> None:
        try:
            lock(tmp_path / "p")
            got.append("held")
        except BusyError:
            got.append("busy")

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["busy"] * 11 + ["held"]


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


@pytest.mark.usefixtures("lockless")
def test_claim__goes_on_where_there_are_no_locks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with claim(tmp_path):
        assert "has no locks" in caplog.text
        assert "no second run" in caplog.text
        assert [path.name for path in tmp_path.iterdir()] == [CLAIM]


def test_claim__does_not_follow_a_planted_link(tmp_path: Path) -> None:
    (tmp_path / CLAIM).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="cannot write"), claim(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
