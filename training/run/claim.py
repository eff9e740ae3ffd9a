"""A folder that one run alone writes to."""

import contextlib
import errno
import logging
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deo.errors import BusyError, OutputError

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"

_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_claims: "weakref.WeakSet[BinaryIO]" = weakref.WeakSet()


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder inside this block; the system lets go when a run is killed.

    Where the file system knows no locks, a warning says that keeping them apart is the user's care.

    Raises:
        BusyError: another run holds the folder.
        OutputError: the folder cannot be written to.
    """
    try:
        lock = os.fdopen(os.open(folder / LOCK_NAME, _FLAGS, 0o666), "r+b")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        _lock(lock, folder)
        _claims.add(lock)
        try:
            yield
        finally:
            _claims.discard(lock)


def _lock(lock: BinaryIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(
            f"another run is writing to {folder}; wait for it, or choose another output folder"
        ) from error
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise OutputError(f"cannot lock {folder}: {error.strerror}") from error
        log.warning(
            "the file system of %s knows no locks (%s): see to it that no second run writes there",
            folder,
            error.strerror,
        )


def _let_go() -> None:
    """In a forked child: reading workers outlive a killed run by seconds and must not hold it."""
    for lock in list(_claims):
        lock.close()
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
