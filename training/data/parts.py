"""The folder that a preparation works in, and the record of each part that is done."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deo.errors import DataError, OutputError
from deo.files import atomic
from deo.files.documents import load_json
from deo.files.publish import write_file
from deo.files.records import differences
from deo.training.data.shard_index import INDEX_NAME, Shard

log = logging.getLogger(__name__)

PLAN_NAME = "plan.json"
_WRITTEN = r"shard-\d{5,}\.bin|\d{5,}\.json|plan\.json|index\.json|report\.md|write"


@dataclass(frozen=True, kw_only=True)
class Part:
    """The result of one part: its shard (None when nothing was usable) and what it saw.

    `radiometry`: how stored numbers became digital numbers, and for how many samples.
    """

    shard: Shard | None
    shape: tuple[int, int, int] | None
    dtype: str | None
    origins: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    statistics: dict[str, list[float]] = field(default_factory=dict)
    radiometry: dict[str, int] = field(default_factory=dict)


def check_plan(folder: Path, ours: dict[str, Any]) -> None:
    """Record what a folder is for, or refuse one that was begun for something else.

    Args:
        ours: the settings, of JSON's own types.

    Raises:
        OutputError: other settings stand there, or shards of other origin.
    """
    path = folder / PLAN_NAME
    theirs = _read_plan(path)
    if theirs is not None:
        changed = [one for one in differences(theirs, ours) if one.name.split(".")[0] in ours]
        if changed:
            raise OutputError(
                f"{folder} was begun with other settings ({'; '.join(map(str, changed))}); "
                "repeat those, or choose another folder"
            )
    elif (folder / INDEX_NAME).exists() and not path.exists():
        raise OutputError(f"{folder} holds shards that `deo prepare` did not make; choose another")
    else:
        if path.exists():  # damaged: what the parts were made with is not known
            for part in (folder / "parts").glob("*.json"):
                part.unlink()
        write_file(path, json.dumps(ours, indent=1) + "\n")


def _read_plan(path: Path) -> dict[str, Any] | None:
    """The settings that a folder was begun with; None where there are none, or damaged ones."""
    if not path.exists():
        return None
    try:
        settings = load_json(path)
        if not isinstance(settings, dict):
            raise TypeError(f"it holds a {type(settings).__name__}, not a table of settings")
    except (ValueError, TypeError) as error:
        log.warning("%s is damaged (%s); every shard is made again", path, error)
        return None
    return settings


def remove_unfinished_shards(folder: Path) -> None:
    """Delete the hidden files that killed runs left; the folder has to be claimed."""
    for place in (folder, folder / "parts"):
        atomic.remove_unfinished(place, _WRITTEN)


def is_done(folder: Path, number: int) -> bool:
    """Whether a part need not be made again. A damaged one has to."""
    path = part_path(folder, number)
    if not path.exists():
        return False
    try:
        part = load_part(folder, number)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is damaged (%s); its shard is made again", path, error)
        return False
    if part.shard is None or part.shape is None or part.dtype is None:
        return True
    # its length alone: checksums of all shards would take as long as reading the data set again
    wanted = part.shard.count * int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize
    shard = folder / part.shard.file
    return shard.is_file() and shard.stat().st_size == wanted


def load_part(folder: Path, number: int) -> Part:
    path = part_path(folder, number)
    fields = load_json(path)
    try:
        if fields["shard"] is not None:
            fields["shard"], fields["shape"] = Shard(**fields["shard"]), tuple(fields["shape"])
        fields["skipped"] = [(name, reason) for name, reason in fields["skipped"]]
        return Part(**fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is not the record of a shard ({error}); remove it and prepare again"
        ) from error


def part_path(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{number:05d}.json"
