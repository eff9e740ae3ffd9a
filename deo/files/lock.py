"""One run at a time in a folder.

Both doors rest on the system's advisory lock, which goes with the process however it ends. `lock`
is for scratch folders and replaces the lock by a file that names the run where the file system
has none. `claim` is for folders that stay, such as those of training runs. It only warns there: a
run that a scheduler kills and starts anew on another machine must not wait for a stale file.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from deo.errors import BusyError
from deo.files import atomic
from deo.files.publish import disk_errors

log = logging.getLogger(__name__)

LOCK, OWNER, CLAIM = "lock", "owner", ".lock"
_ATTEMPTS = 20  # at a folder that another run deletes at that moment
_STALE_SECONDS = 2 * 3600
"""After so long without a sign of life a run on another machine counts as dead. A row of tiles
takes minutes at most."""

_warned: set[int] = set()  # devices without locks, each spoken of once
_claims: "weakref.WeakSet[BinaryIO]" = weakref.WeakSet()


class Lock(Protocol):
    """What keeps other runs out of a folder until it is released."""

    def renew(self) -> None:
        """Give a sign of life. Raises a BusyError when another run has taken over."""

    def remove(self) -> None:
        """Delete the lock's own files and let go."""

    def release(self) -> None: ...


def lock(folder: Path) -> Lock:
    """Make a folder, if it is not there, and keep other runs out of it.

    Raises:
        BusyError: another run holds it.
        OSError: it cannot be made, or a link has the name of the lock.
    """
    path = folder / LOCK
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileExistsError):  # Path.mkdir would look for it once more
            os.mkdir(folder)
        try:
            file = atomic.open_unlinked(path, append=True)
            taken = _flock(
                file, folder, otherwise=f"a file named {OWNER} keeps other runs out instead"
            )
        except FileNotFoundError:  # the run that held it is done and has deleted the folder
            continue
        except BlockingIOError:
            break
        if not taken:
            file.close()
            return _Owner(folder / OWNER)
        if _is_named(file, path):
            return _Held(file, path)
        file.close()
    raise _busy(folder) from None


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Keep other runs out of an existing folder inside this block.

    Raises:
        BusyError: another run holds the folder.
        OutputError: the folder cannot be written to.
    """
    with disk_errors(folder):
        file = atomic.open_unlinked(folder / CLAIM, append=True)
    with file:
        try:
            _flock(file, folder, otherwise="make sure that no second run writes there")
        except BlockingIOError:
            raise _busy(folder) from None
        _claims.add(file)
        try:
            yield
        finally:
            _claims.discard(file)


def _let_go() -> None:
    """In a forked child: reading workers outlive a killed run by seconds and must not hold it."""
    for file in list(_claims):
        file.close()
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _busy(folder: Path) -> BusyError:
    return BusyError(f"another run is writing to {folder}; wait for it, or choose another output")


def _flock(file: BinaryIO, folder: Path, *, otherwise: str) -> bool:
    """Whether the lock is ours now; False where there are no locks.

    Args:
        otherwise: what a warning says of a file system without locks.

    Raises:
        BlockingIOError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: two runs are the user's care there
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError as error:
        _warn(file, folder, error, otherwise)
        return False
    return True


def _warn(file: BinaryIO, folder: Path, reason: OSError, otherwise: str) -> None:
    """Lustre without `-o flock`, NFS without lockd and some FUSE systems have no locks."""
    device = os.fstat(file.fileno()).st_dev
    if device not in _warned:
        _warned.add(device)
        log.warning(
            "the file system of %s has no locks (%s); %s", folder, reason.strerror, otherwise
        )


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Whether the open file still has its name: its folder may have been deleted since."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


class _Held:
    """A lock of the system's, which goes with the process."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path

    def renew(self) -> None:
        """The system knows that this process lives."""

    def remove(self) -> None:
        if not self._file.closed:
            self._path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        if self._file.closed:
            return
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_UN)  # for processes forked meanwhile too
        self._file.close()


class _Owner:
    """A file that names the run that holds the folder, where the system has no locks.

    It is taken over from a process of this machine that has ended, and from one of another machine
    that has given no sign of life for `_STALE_SECONDS`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._token = path, secrets.token_hex(8)
        for _ in range(_ATTEMPTS):
            try:
                file = atomic.create(path)
            except FileExistsError:
                self._set_aside()
                continue
            with file:
                facts = {"host": socket.gethostname(), "pid": os.getpid(), "token": self._token}
                file.write(json.dumps(facts).encode())
            return
        raise self._busy({})

    def renew(self) -> None:
        if _owner(self._path).get("token") != self._token:
            raise BusyError(f"another run has taken {self._path.parent} over; wait for it")
        os.utime(self._path)

    def remove(self) -> None:
        self.release()
        (self._path.parent / LOCK).unlink(missing_ok=True)

    def release(self) -> None:
        if _owner(self._path).get("token") == self._token:
            self._path.unlink(missing_ok=True)

    def _set_aside(self) -> None:
        """Delete the file of a run that has ended.

        Raises:
            BusyError: it has not.
        """
        found = _owner(self._path)
        if not _has_ended(self._path, found):
            raise self._busy(found)
        aside = atomic.beside(self._path, "old")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(aside)
            if _owner(aside).get("token") != found.get("token"):  # another run was faster
                aside.rename(self._path)
                raise self._busy({})
            aside.unlink()

    def _busy(self, found: dict[str, Any]) -> BusyError:
        who = f" (process {found['pid']} on {found['host']})" if "pid" in found else ""
        return BusyError(
            f"another run{who} is writing to {self._path.parent}; wait for it, choose another "
            f"output, or delete {self._path} if that run has ended"
        )


def _owner(path: Path) -> dict[str, Any]:
    """What an owner's file says; nothing where it is absent or damaged."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"host", "pid", "token"} <= found.keys():
            return found
    return {}


def _has_ended(path: Path, found: dict[str, Any]) -> bool:
    if found.get("host") == socket.gethostname() and isinstance(found["pid"], int):
        try:
            os.kill(found["pid"], 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    return True
