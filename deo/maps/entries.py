"""Lists of scenes: what their lines say of each scene, its output and its preview."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deo.errors import ConfigError
from deo.scene.stac_item import item_addresses

_OUTPUTS = 2  # columns after the scenes: the output and the preview
_HEADERS = ("scene", "scenes", "source", "input", "path", "file", "filename")


class Entry(NamedTuple):
    """A line of a list: a scene and what it says of its output and preview, empty for nothing.

    `second` is the later date, where a map is made of two.
    """

    source: str
    output: str = ""
    preview: str = ""
    second: str = ""

    @classmethod
    def of(cls, columns: Sequence[str], *, dates: int) -> "Entry":
        """From the columns of a line: one or two scenes, then the output and the preview."""
        output, preview, *_ = (*columns[dates:], "", "")
        return cls(columns[0], output, preview, columns[1] if dates == 2 else "")


def read_entries(arguments: Sequence[str], *, dates: int = 1) -> list[Entry]:
    """Inputs as given; `@file` stands for the lines of a text file.

    A line holds a scene, or scene, output and preview with tabs between them; commas and quotes as
    spreadsheets write them where the file is a `.csv`. Empty lines, lines beginning with `#` and
    a heading do not count.

    Args:
        dates: 2 where each map is made of two dates: a line then begins with both, and arguments
            beside lists are taken two by two.

    Raises:
        ConfigError: a list cannot be read, a line has more or fewer columns, a second date is
            missing, or there is nothing in any.
    """
    entries: list[Entry] = []
    named: list[str] = []
    for argument in arguments:
        if argument.startswith("@"):
            entries += _listed(Path(argument[1:]), dates)
        else:
            named.append(argument)
            if len(named) == dates:
                entries.append(Entry.of(named, dates=dates))
                named = []
    if named:
        raise ConfigError(f"{named[0]} has no second date; name two scenes for each map")
    if not entries:
        raise ConfigError("no scenes given; name files, or @LIST for a text file of them")
    return with_items(entries)


def with_items(entries: Iterable[Entry]) -> list[Entry]:
    """Entries of which each collection of STAC items has become one for each of its items.

    Raises:
        SceneError: a collection cannot be read.
    """
    return [
        entry._replace(source=address)
        for entry in entries
        for address in ([entry.source] if entry.second else item_addresses(entry.source))
    ]


def _listed(path: Path, dates: int) -> Iterator[Entry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines: Iterable[list[str]] = (line.strip().split("\t") for line in text.splitlines())
        if path.suffix.lower() == ".csv":
            lines = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the list {path} cannot be read: {error}") from error
    first = True
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if not (first and _is_heading(cells, path)):
            scenes = "a scene" if dates == 1 else "two scenes"
            if not dates <= len(cells) <= dates + _OUTPUTS or not all(cells[:dates]):
                raise ConfigError(
                    f"line {number} of the list {path} is {cells}; wanted are {scenes} and, if you "
                    "like, the output and the preview"
                )
            yield Entry.of(cells, dates=dates)
        first = False


def _is_heading(cells: Sequence[str], path: Path) -> bool:
    """Whether a first line names the columns; in a plain list it is a scene."""
    tabular = len(cells) > 1 or path.suffix.lower() == ".csv"
    return tabular and cells[0].lower() in _HEADERS and not os.path.exists(cells[0])
