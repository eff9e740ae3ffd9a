"""What lies below a folder: links to folders followed, what systems leave behind passed over."""

import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from deo.errors import DataError
from deo.files.junk import is_junk
from deo.scene.formats import RASTER_SUFFIXES

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".tif", ".tiff", ".jp2")  # a VRT among chips is their mosaic, no chip
_SIDECARS = (".xml", ".ovr", ".msk", ".tfw", ".prj")
_MOST_KINDS = 6


def is_raster(path: Path) -> bool:
    """Whether a file has the suffix of a raster, in upper or lower case."""
    return path.suffix.lower() in RASTER_SUFFIXES


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, each folder once however many links lead to it.

    A `.SAFE` product counts as one file; what is inside is its own business.

    Raises:
        DataError: a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    links = [folder]
    # links last: what a link leads to may stand below `folder` itself, and keeps that name
    while links:
        yield from _walk(links.pop(0), seen, links)


def _walk(folder: Path, seen: set[tuple[int, int]], links: list[Path]) -> Iterator[Path]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            log.info("%s leads to a folder that is listed already", folder)
            return
        seen.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        path = folder / entry.name
        if is_junk(entry.name):
            continue
        if not entry.is_dir() or path.suffix.lower() == ".safe":
            yield path
        elif entry.is_symlink():
            links.append(path)
        else:
            yield from _walk(path, seen, links)


def files_in(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Files of these suffixes that stand in a folder itself, sorted; none without the folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not is_junk(path.name)
    )


def raster_named(folder: Path, stem: str) -> Path | None:
    """The raster `<stem>.tif`, or the same under another suffix or case of it."""
    usual = folder / f"{stem}.tif"
    if usual.is_file():
        return usual
    return next((path for path in files_in(folder) if path.stem == stem), None)


def folders_in(folder: Path) -> list[str]:
    """Names of the folders, or links to folders, that stand in a folder, sorted."""
    return sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not is_junk(path.name)
    )


def say_left_out(folder: Path, left: Iterable[Path], *, because: str) -> None:
    """Log how many files are not taken and of what kinds; sidecars of rasters do not count.

    Worker processes, which list what their parent has listed, are silent.
    """
    if multiprocessing.parent_process() is not None:
        return
    kinds = Counter(
        path.suffix.lower() or path.name for path in left if path.suffix.lower() not in _SIDECARS
    )
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_MOST_KINDS))
        more = ", ..." if len(kinds) > _MOST_KINDS else ""
        total = kinds.total()
        log.warning(
            "%s: %d file%s left out, %s: %s%s",
            folder,
            total,
            " is" if total == 1 else "s are",
            because,
            listed,
            more,
        )
