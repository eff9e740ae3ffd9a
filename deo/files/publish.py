"""Writing so that a file under its final name is a whole one, and saying why it could not be."""

import contextlib
import errno
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deo.errors import DeoError, OutputError
from deo.files.atomic import beside, create, flush, flush_folder, replace, written

_BLOCK = 2**20  # the most that is written at once: a disk with less free may be what refused
_WRITING = ".writing-"
_PARTIAL = re.compile(r"(\.rows-\d+-\d+)?\.partial$")
_REASONS = {
    errno.ENOSPC: "the disk is full (No space left on device)",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENOENT: "the folder does not exist",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "it is a file, and a folder is to be made; move the file, or choose another name",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "it is a symbolic link, and those are not followed here; delete the link",
}
_WRITERS_ERRORS = (
    ("rasterio.errors", "RasterioError"),
    ("rasterio._err", "CPLE_BaseError"),  # not a RasterioError; raised by copies as it is
    ("safetensors", "SafetensorError"),
)


class Room(NamedTuple):
    """Bytes that writing an output takes: in between, and for good."""

    scratch: int
    output: int


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn what goes wrong while writing into one message about `target`.

    The message names what was asked for, where `target` is a run's own file on the way to it.

    Raises:
        OutputError: the system, GDAL, PyArrow or a lack of memory stopped what was inside.
    """
    try:
        yield
    except DeoError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, MemoryError, SystemError, *_writers_errors())):
            raise
        raise OutputError(f"cannot write {asked_for(target)}: {_reason(error, target)}") from error


def _writers_errors() -> Iterator[type[BaseException]]:
    """What GDAL and safetensors raise besides OSError.

    A library that was never imported raised nothing, and importing rasterio for that would cost
    every command that writes a small file 0.2 s.
    """
    for module, name in _WRITERS_ERRORS:
        if module in sys.modules:
            yield getattr(sys.modules[module], name)


def write_file(path: Path, content: bytes | str) -> None:
    """Write a small file, text as UTF-8; it appears under its name only when it is complete.

    Raises:
        OutputError: a folder has the name, or the disk refuses.
    """
    with disk_errors(path):
        refuse_folder(path)
        with written(path) as new:
            new.write_bytes(content.encode() if isinstance(content, str) else content)


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, and check that a file can be put there.

    Raises:
        OutputError: it cannot be made, or not be written to.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _probe(folder / "write")
    return folder


def _probe(target: Path) -> None:
    probe = beside(target, "probe")
    create(probe).close()
    probe.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A new folder in `folder` to write an output in, under its own name; deleted at the end.

    Its name is random, so that nothing can be planted in it beforehand.
    """
    with disk_errors(folder / _WRITING):
        scratch = Path(tempfile.mkdtemp(prefix=_WRITING, dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_scratch(name: str) -> bool:
    """Whether a folder of this name is one that a killed run could not delete."""
    return name.startswith(_WRITING)


def asked_for(path: Path) -> Path:
    """The output that a run writes `path` for.

    That is NAME for `NAME.partial`, `NAME.rows-0-3.partial` and what is in them, and OTHER for
    `.writing-*/OTHER` anywhere.
    """
    folder = path.parent
    if is_scratch(folder.name):
        place = folder.parent
        return (place.parent if place.suffix == ".partial" else place) / path.name
    for place in (path, folder):
        if place.suffix == ".partial":
            return place.with_name(_PARTIAL.sub("", place.name))
    return path


def _reason(error: BaseException, target: Path) -> str:
    """What was said first in a chain of errors, or what that means."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for link in chain:
        if isinstance(link, MemoryError):
            return "there is not enough memory"
        if isinstance(link, OSError) and link.errno in _REASONS:
            return _REASONS[link.errno]
    if _is_full(target.parent):  # GDAL's error says no more than "Write error"
        return _REASONS[errno.ENOSPC]
    text = " ".join(str(chain[-1]).split()) or type(chain[-1]).__name__
    if isinstance(error, OSError) or not target.parent.is_dir():
        return text
    # a failed copy is deleted before anyone can see that the disk was full
    free = shutil.disk_usage(target.parent).free
    return f"{text} (its disk has {free / 2**20:.0f} MiB free)"


def _is_full(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free < _BLOCK


def check_folder(target: Path) -> None:
    """Refuse a target whose folder cannot take a file, before hours are spent.

    Raises:
        OutputError: the folder is missing or cannot be written to.
    """
    with disk_errors(target):
        folder = target.parent
        if not folder.is_dir():
            raise OutputError(f"cannot write {target}: there is no folder {folder}; make it first")
        _probe(target)


def check_space(target: Path, size: int) -> None:
    """Refuse to start when `size` bytes are more than the target's disk has free.

    Raises:
        OutputError: they are.
    """
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise OutputError(
            f"cannot write {target}: {size / 2**30:.3g} GiB are needed beside it and "
            f"{free / 2**30:.3g} GiB are free; free some space, or choose a coarser --layer"
        )


def refuse_folder(target: Path) -> None:
    """Refuse to put a file where a folder is; a link to one is a file, which can be replaced.

    Raises:
        OutputError: there is a folder.
    """
    if target.is_dir() and not target.is_symlink():
        raise OutputError(
            f"cannot write {target}: it is a folder, and a file is to be written; "
            "move the folder, or choose another name"
        )


def publish(finished: Path, target: Path) -> None:
    """Give a finished file or folder its final name, in one step where there was none before.

    A file replaces a file, a folder a folder, and either a symbolic link; what it led to stays.
    The disk has taken it in, and its name, when this returns.

    Raises:
        OutputError: a folder has the name and a file is to be written, or the other way round.
    """
    with disk_errors(target):
        if not finished.is_dir():
            refuse_folder(target)
            replace(finished, target)
            return
        flush(finished)
        if target.is_symlink():
            target.unlink()
            finished.rename(target)
        elif target.is_dir():
            old = beside(target, "old")
            target.rename(old)
            finished.rename(target)
            shutil.rmtree(old)
        elif target.exists():
            raise OutputError(
                f"cannot write {target}: it is a file, and a folder is to be written; "
                "move the file, or choose another name"
            )
        else:
            finished.rename(target)
        flush_folder(target.parent)
