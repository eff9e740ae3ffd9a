"""Files that appear under their names whole or not at all, and last through a power cut.

What is written first has a random name that is made anew, so that no link planted under it is
followed. It is on the disk before it gets its own name, and the name before the caller goes on.
"""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)  # Windows has one, not both


def beside(target: Path, kind: str) -> Path:
    """A hidden name in the target's folder that no other run uses, on any machine."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{kind}")


def remove_unfinished(folder: Path, names: str) -> None:
    """Delete what killed runs left of files that they were writing in a folder, which is locked.

    Args:
        names: a pattern that the files' final names match; the files of other programs stay.
    """
    unfinished = re.compile(rf"\.(?:{names})\.[0-9a-f]{{8}}\.(?:new|probe)")
    for path in folder.glob(".*"):
        if unfinished.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def create(path: Path) -> BinaryIO:
    """Open a new file for reading and writing.

    Raises:
        FileExistsError: something has this name, be it a link that leads nowhere.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666), "w+b")


def open_unlinked(path: Path, *, append: bool = False) -> BinaryIO:
    """Open a file of ours for reading and writing, or make it; its content is kept.

    Raises:
        OSError: it is a symbolic link (ELOOP).
        FileExistsError: it is no file but a pipe or a device.
    """
    flags = os.O_RDWR | os.O_CREAT | _NO_LINK | (os.O_APPEND if append else 0)
    handle = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileExistsError(f"{path} is no ordinary file; delete it")
    return os.fdopen(handle, "ab" if append else "r+b")


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path` to write to; it replaces `path` at the end.

    It is deleted when something fails inside.
    """
    new = beside(path, "new")
    create(new).close()
    mode = new.stat().st_mode  # as the umask has it; some writers make files for the owner alone
    try:
        yield new
        new.chmod(mode)
        replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def replace(finished: Path, target: Path) -> None:
    """Give a finished file its final name; what has that name, or a link of it, is replaced."""
    flush(finished)
    finished.replace(target)
    flush_folder(target.parent)


def flush(path: Path) -> None:
    """Have the disk take in a file, or a folder with all that is in it."""
    if not path.is_dir():
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return
    for place, _, names in os.walk(path, topdown=False):
        for name in names:
            flush(Path(place, name))
        flush_folder(Path(place))


def flush_folder(folder: Path) -> None:
    """Have the disk take in the names in a folder, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
