"""Finished rows on disk while a run goes on: what a killed run leaves and a resumed one reads.

A folder beside the target holds, per layer, two files of plain float32 rows that only grow, and a
small journal that says how much of them is whole. The output is made from these files once all
rows are there, so that every format is resumable and none is ever half-written.
"""

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from deo.errors import OutputError
from deo.files import atomic
from deo.files.documents import load_json
from deo.files.lock import LOCK, OWNER, lock
from deo.files.publish import disk_errors, write_file
from deo.files.records import differences, plain
from deo.maps.blend import RowBlock
from deo.maps.rows import ITEM, Rows, Shape
from deo.maps.stream import RowBand
from deo.scene.inputs import changed_files

log = logging.getLogger(__name__)

_KEPT = re.compile(r"lock|owner|(job|progress)\.json|(values|valid)-\d+\.f32")
_OURS = re.compile(rf"{_KEPT.pattern}|\.(job|progress)\.json\.[0-9a-f]+\.new|\.writing-\w+")
_LOCKS = re.compile(f"{LOCK}|{OWNER}")
SOURCE_ID = "DEO_SOURCE_ID"
_SOURCE = ("source", SOURCE_ID)  # compared by `changed_files`


class Spool:
    """The folder of a run that is under way; locked against a second run while open.

    Args:
        folder: where; made if it is not there.
        job: JSON-able facts that decide the output's bytes; a run resumes only an equal job.
        shapes: of each layer.
            `source` among them is the record of `Inputs`: where it differs the rows are of no use,
            and the run starts over with a warning.
        resume: go on from what is there; otherwise what is there is deleted.

    Raises:
        BusyError: another run holds the folder.
        OutputError: it cannot be made, something that no run left has its name, or `resume` meets
            another job.
    """

    def __init__(
        self, folder: Path, *, job: Mapping[str, Any], shapes: Sequence[Shape], resume: bool
    ) -> None:
        self.folder, self.shapes = folder, tuple(shapes)
        self.finished = 0
        self._rows = [0] * len(self.shapes)
        self._files: list[tuple[BinaryIO, BinaryIO]] = []
        self._closing = contextlib.ExitStack()
        with disk_errors(folder):
            _check_ours(folder)
            self._lock = lock(folder)
        self._open = True
        try:
            with disk_errors(folder):
                self._prepare(plain(job), resume)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, band: RowBand) -> None:
        """Store a row of tiles; once this returns, a kill does not lose it."""
        assert band.tile_row == self.finished, "rows of tiles come in order"
        with disk_errors(self.folder):
            for files, block in zip(self._files, band.blocks, strict=True):
                self._write(files, block)
            self.finished += 1
            self._note_progress()

    def layer(self, index: int) -> Rows:
        """One layer's rows, for reading."""
        values, valid = self._paths(index)
        return Rows(values, valid, self.shapes[index])

    def close(self) -> None:
        """Let go of the files and the lock."""
        self._open = False
        with contextlib.suppress(OSError):
            self._closing.close()
        self._lock.release()

    def discard(self) -> None:
        """Take the rows for worthless: nobody resumes from them."""
        self.finished = 0
        self.remove()

    def remove(self) -> None:
        """Delete the folder, the lock last: until then no other run takes it up."""
        if not self._open:  # the folder may be another run's by now
            return
        self._open = False
        with contextlib.suppress(OSError):
            self._closing.close()
            _clear(self.folder, keep=_LOCKS)
        self._lock.remove()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _prepare(self, job: dict[str, Any], resume: bool) -> None:
        if resume and (self.folder / "progress.json").exists():
            self._take_up(job)
        _clear(self.folder, keep=_KEPT if self.finished else _LOCKS)
        for index, (shape, rows) in enumerate(zip(self.shapes, self._rows, strict=True)):
            width = shape.width * ITEM.itemsize
            values, valid = self._paths(index)
            opened = [
                self._closing.enter_context(_open_at(path, rows * size))
                for path, size in ((values, shape.channels * width), (valid, width))
            ]
            self._files.append((opened[0], opened[1]))
        self._replace("job.json", job)
        self._note_progress()

    def _take_up(self, job: dict[str, Any]) -> None:
        try:
            known = _read(self.folder / "job.json")
            progress = _read(self.folder / "progress.json")
            finished, rows = _counts(progress, self.shapes)
        except (FileNotFoundError, ValueError) as error:
            log.warning("%s: the journal is damaged (%s); starting over", self.folder, error)
            return
        if "source" in job and (changed := changed_files(known.get("source"), job["source"])):
            log.warning(
                "%s: the input is another than before (%s); starting over",
                self.folder,
                ", ".join(changed[:3]),
            )
            return
        _compare(self.folder, known, job)
        self.finished, self._rows = finished, rows
        log.info("resuming after %d rows of tiles", finished)

    def _write(self, files: tuple[BinaryIO, BinaryIO], block: RowBlock) -> None:
        assert block.row == self._rows[block.layer], "rows come in order"
        values, valid = files
        values.write(np.ascontiguousarray(block.values, ITEM).data)
        valid.write(np.ascontiguousarray(block.valid, ITEM).data)
        self._rows[block.layer] += len(block.values)

    def _note_progress(self) -> None:
        """Journal what is on disk, after it is on disk."""
        for pair in self._files:
            for file in pair:
                file.flush()
                os.fsync(file.fileno())
        self._replace("progress.json", {"finished": self.finished, "rows": self._rows})
        self._lock.renew()

    def _paths(self, index: int) -> tuple[Path, Path]:
        return self.folder / f"values-{index}.f32", self.folder / f"valid-{index}.f32"

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        write_file(self.folder / name, json.dumps(content, indent=1))


def spooled(folder: Path) -> int:
    """Bytes of rows that a run has left there, and that a resumed one need not write."""
    with contextlib.suppress(OSError):
        return sum(path.lstat().st_size for path in folder.glob("*.f32"))
    return 0


def _check_ours(folder: Path) -> None:
    """Refuse what no run left: it would be deleted when this one is done.

    Other runs make and remove folders of this name meanwhile, so that it is looked at once.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        if not folder.is_symlink():
            return
    except NotADirectoryError:
        if not os.path.lexists(folder):  # a part of its path is a file, which `mkdir` tells
            return
    else:
        ours = not names or any(_OURS.fullmatch(name) for name in names)
        if ours and not folder.is_symlink():
            return
    raise OutputError(f"{folder} is in the way and was not made by deo; move it")


def _clear(folder: Path, *, keep: re.Pattern[str]) -> None:
    """Delete what is in a folder, links and not what they lead to, but for names to keep."""
    for path in folder.iterdir():
        if keep.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; ValueError when there is none."""
    content = load_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no object")
    return content


class _Counts(NamedTuple):
    finished: int
    rows: list[int]


def _counts(progress: Mapping[str, Any], shapes: Sequence[Shape]) -> _Counts:
    """Rows of tiles that are done, and each layer's rows; ValueError when they cannot be."""
    finished, rows = progress.get("finished"), progress.get("rows")
    if (
        type(finished) is int
        and finished >= 0
        and isinstance(rows, list)
        and len(rows) == len(shapes)
        and all(
            type(row) is int and 0 <= row <= shape.height
            for row, shape in zip(rows, shapes, strict=True)
        )
    ):
        return _Counts(finished, rows)
    raise ValueError("progress.json counts no rows that there could be")


def _open_at(path: Path, size: int) -> BinaryIO:
    file = atomic.open_unlinked(path)
    facts = os.fstat(file.fileno())
    if facts.st_nlink > 1:  # cutting it to size would cut what it is elsewhere
        file.close()
        raise OutputError(f"{path} is a hard link, which no run makes; delete {path.parent}")
    if facts.st_size < size:
        file.close()
        raise OutputError(f"{path} is shorter than its journal says; start again without resume")
    file.truncate(size)
    file.seek(size)  # not appended: what two runs of one job write lands in the same place
    return file


def _compare(folder: Path, known: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    changed = [one for one in differences(known, job) if one.name not in _SOURCE]
    if changed:
        lines = "; ".join(map(str, changed))
        raise OutputError(
            f"{folder} was begun with other settings ({lines}); repeat those, or start again "
            "without resume"
        )
