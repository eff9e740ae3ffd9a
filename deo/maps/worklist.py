"""Many scenes: which inputs there are, and which output each of them has."""

import csv
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deo.errors import ConfigError, OutputError
from deo.files.publish import disk_errors
from deo.maps.sinks import SUFFIXES
from deo.scene.stac_item import is_stac_path, item_addresses

log = logging.getLogger(__name__)

_SHOWN = 5  # of a list of faults in one message
_OUTPUTS = 2  # columns after the scenes: the output and the preview
_HEADERS = ("scene", "scenes", "source", "input", "path", "file", "filename")
_INSIDE_PRODUCTS = re.compile(
    r"(MTD_\w+|manifest)\.(xml|safe)|GRANULE|IMG_DATA|R[126]0m", re.IGNORECASE
)
"""Names that every product has inside, so that they tell no scene from another."""


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


class Item(NamedTuple):
    """One map: the scene that it is made of, and what is written.

    `second` is the later date, where it is made of two; `preview` and `probabilities` are None
    where they are not written.
    """

    source: Any
    output: Path
    preview: Path | None = None
    second: Any = None
    probabilities: Path | None = None

    @property
    def sources(self) -> tuple[Any, ...]:
        """One scene, or two dates."""
        return (self.source,) if self.second is None else (self.source, self.second)


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


def pair(
    entries: Sequence[Entry],
    output: str | None,
    preview: str | None,
    *,
    probabilities: str | None = None,
    several: bool = False,
) -> list[Item]:
    """Give every scene its output.

    What an entry says goes before `output` and `preview`: a path as it is; a bare file name in the
    folder that these name; a name without suffix in the place of the scene's name. A scene that is
    there twice with one output is taken once.

    Args:
        output: a file for one scene; for any number a folder (the outputs are then `NAME.tif`) or
            a template with `{name}` in it, the scene's name without suffix; None where every
            entry says its own. Folders are made.
        preview: likewise, with `NAME.png` in a folder; None for no other than the entries'.
        probabilities: likewise, with `NAME.tif` in a folder; None for none.
        several: one scene is the only one of a list, whose output may be a folder to be made.

    Raises:
        OutputError: two scenes would write the same file, or one would write another.
        ConfigError: a scene has no output.
    """
    entries = _once(entries)
    several = len(entries) > 1 or (several and not Path(output or "").suffix)
    items = []
    for entry in entries:
        path = _target(entry, entry.output, output, ".tif", several)
        if path is None:
            raise ConfigError(f"{entry.source} has no output; give -o, or a second column")
        shown = _target(entry, entry.preview, preview, ".png", several)
        shares = None
        if probabilities is not None:
            shares = _place(probabilities, _name(entry.source), ".tif", several)
        items.append(Item(entry.source, path, shown, entry.second or None, shares))
    _check_collisions(items)
    return items


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """Every scene once, however it is spelt; links under other names are scenes of their own."""
    kept: dict[tuple[str, ...], Entry] = {}
    for entry in entries:
        scenes = (_identity(entry.source), entry.second and _identity(entry.second))
        key = (*scenes, _name(entry.source), entry.output, entry.preview)
        if kept.setdefault(key, entry) is not entry:
            log.warning("%s is listed twice; it is taken once", entry.source)
    return list(kept.values())


def _target(entry: Entry, said: str, target: str | None, suffix: str, several: bool) -> Path | None:
    """Where one file of an entry goes; None where nothing says so."""
    bare = "/" not in said and os.sep not in said
    if said and (Path(said).suffix.lower() in (*SUFFIXES, ".png") or not bare):
        folder = Path(".") if target is None or not bare else _folder(target, several)
        path = folder / said
        _make_folder(path, path.parent)
        return path
    if target is None:
        return Path(f"{said}{suffix}") if said else None
    return _place(target, said or _name(entry.source), suffix, several)


def _folder(target: str, several: bool) -> Path:
    """The folder that an output names or lies in."""
    path = Path(target)
    whole = "{name}" not in target and (
        target.endswith("/") or path.is_dir() or (several and not path.suffix)
    )
    return path if whole else path.parent


def _identity(source: str) -> str:
    """Equal for two spellings of one scene."""
    return os.path.realpath(source) if os.path.exists(source) else source


def _check_collisions(items: Sequence[Item]) -> None:
    """Refuse, before anything is computed, what would be lost afterwards."""
    scenes = {_identity(source): source for item in items for source in item.sources}
    writers: dict[str, str] = {}
    faults: list[str] = []
    for source, path in [
        *((item.source, item.output) for item in items),
        *((item.source, item.probabilities) for item in items),
        *((item.source, item.preview) for item in items),
    ]:
        if path is None:
            continue
        key = os.path.abspath(path)
        read = scenes.get(os.path.realpath(path))
        if key in writers:
            faults.append(f"{writers[key]} and {source} would both be written to {path}")
        elif read is not None and _identity(source) != os.path.realpath(path):
            faults.append(f"{source} would be written over {read}, another scene of the list")
        writers.setdefault(key, source)
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise OutputError(
            "\n  ".join(faults[:_SHOWN])
            + more
            + "\ngive them folders or names of their own, for instance in a second column of the "
            "list: SCENE<tab>OUTPUT"
        )


def _name(source: str) -> str:
    """The name of a scene: the last part of its path or URL without its suffix.

    Of what lies under the same name in every product the product's; of an item of a STAC
    collection the item's.
    """
    if is_stac_path(source) and "#" in source:
        return source.partition("#")[2].replace("/", "_")
    whole = source.split("?")[0].rstrip("/")
    if "://" not in whole:
        whole = os.path.abspath(whole)
    parts = whole.split("/")
    while len(parts) > 1 and _INSIDE_PRODUCTS.fullmatch(parts[-1]):
        parts.pop()
    last = parts[-1]
    for suffix in (".SAFE.zip", ".SAFE"):
        if last.upper().endswith(suffix.upper()):
            return last[: -len(suffix)]
    return Path(last).stem or "scene"


def _place(target: str, name: str, suffix: str, several: bool) -> Path:
    if "{name}" in target:
        path = Path(target.replace("{name}", name))
        _make_folder(path, path.parent)
        return path
    path = Path(target)
    if target.endswith("/") or (path.is_dir() and path.suffix.lower() != ".zarr") or several:
        if several and path.suffix and not path.is_dir():
            raise OutputError(
                f"several scenes cannot all be written to {target}; give a folder, or a template "
                f"such as {path.with_stem(path.stem + '_{name}')}"
            )
        _make_folder(path, path)
        return path / f"{name}{suffix}"
    return path


def _make_folder(target: Path, folder: Path) -> None:
    with disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
