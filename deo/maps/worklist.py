"""Many scenes: which output each of them has."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deo.errors import ConfigError, OutputError
from deo.files.publish import disk_errors
from deo.maps.entries import Entry
from deo.maps.sinks import SUFFIXES
from deo.scene.stac_item import is_stac_path

log = logging.getLogger(__name__)

_SHOWN = 5  # of a list of faults in one message
_INSIDE_PRODUCTS = re.compile(
    r"(MTD_\w+|manifest)\.(xml|safe)|GRANULE|IMG_DATA|R[126]0m", re.IGNORECASE
)
"""Names that every product has inside, so that they tell no scene from another."""


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
