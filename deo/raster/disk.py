"""Writing so that a file under its final name is a whole one, and saying why it could not be."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deo.errors import DeoError, OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENOENT: "the folder does not exist",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextlib.contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn what the system or GDAL reports while writing into one message about `target`.

    Raises:
        OutputError: an OSError or a GDAL error was raised inside.
    """
    from rasterio.errors import RasterioError

    try:
        yield
    except DeoError:
        raise
    except (OSError, RasterioError) as error:
        reason = _REASONS.get(getattr(error, "errno", None) or 0, str(error))
        raise OutputError(f"cannot write {target}: {reason}") from error


def check_folder(target: Path) -> None:
    """Refuse a target whose folder cannot take a file, before hours are spent.

    Raises:
        OutputError: the folder is missing or cannot be written to.
    """
    with disk_errors(target):
        folder = target.parent
        if not folder.is_dir():
            raise OutputError(f"cannot write {target}: there is no folder {folder}; make it first")
        probe = folder / f".{target.name}.{os.getpid()}.probe"
        probe.touch()
        probe.unlink()


def check_space(target: Path, size: int) -> None:
    """Refuse to start when `size` bytes are more than the target's disk has free.

    Raises:
        OutputError: they are.
    """
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise OutputError(
            f"cannot write {target}: {size / 2**30:.1f} GiB are needed beside it and "
            f"{free / 2**30:.1f} GiB are free; free some space, or choose a coarser --layer"
        )


def publish(finished: Path, target: Path) -> None:
    """Give a finished file or folder its final name, in one step where there was none before."""
    with disk_errors(target):
        if target.is_dir():
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            finished.rename(target)
            shutil.rmtree(old)
        else:
            finished.replace(target)
