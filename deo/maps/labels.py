"""Labels: points and polygons that say which class a place belongs to."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError, did_you_mean, require
from deo.maps.label_files import EXTRA, read_places

MOST_CLASSES = 255
"""What a map of bytes holds, whose last value says that there is nothing."""

_LONGEST_NAME = 100
_CLASS_COLUMNS = ("class", "label", "class_name", "classname", "name")
_COLOUR_COLUMNS = ("colour", "color")

Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Places with a class.

    Args:
        source: what messages call them.
        geometries: shapely's points and polygons, (n,).
        numbers: of the class of each, an index of `classes`, (n,).
        classes: their names, numbers in order of size or else text in order of the alphabet.
        crs: of the geometries, as pyproj takes it.
        colours: those that the file gives, by class.
        nameless: how many labels had no class or no geometry, and were left out.
    """

    source: str
    geometries: NDArray[Any]
    numbers: NDArray[np.intp]
    classes: tuple[str, ...]
    crs: Any
    colours: dict[str, Colour]
    nameless: int = 0


def read_labels(source: Any, *, column: str | None = None) -> Labels:
    """Read labels, from a file or from a table of GeoPandas.

    Args:
        source: GeoJSON, GeoPackage or GeoParquet with points or polygons in any reference system;
            a CSV with columns `lon` and `lat`; or a GeoDataFrame. A column `colour` may give each
            class a colour (`#rrggbb`).
        column: that holds the classes; None: `class`, `label` or `name`, or the only one.

    Raises:
        DataError: it cannot be read, or does not say which class lies where.
        MissingExtraError: the extra `classify` is not installed.
    """
    geopandas = require("geopandas", extra=EXTRA)
    if isinstance(source, geopandas.GeoDataFrame):
        return _labels(source, "the table of labels", column)
    path = Path(source)
    return _labels(read_places(path), str(path), column)


def _labels(table: Any, source: str, column: str | None) -> Labels:
    """What a table of GeoPandas says, without the rows that lack a class or a place."""
    if table.crs is None:
        raise DataError(
            f"{source} does not say which coordinate reference system its labels are in; write it "
            "with one"
        )
    name = _class_column([str(name) for name in table.columns.drop(table.geometry.name)],
                         source, column)  # fmt: skip
    codes, values = require("pandas", extra=EXTRA).factorize(table[name], use_na_sentinel=True)
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"column {name!r} of {source} holds {len(values):,} different values; {MOST_CLASSES} "
            "classes are the most. Name the column that holds classes with --column"
        )
    texts = [class_name(value, source) for value in values]
    classes = tuple(sorted({text for text in texts if text}, key=class_order(texts)))
    of_value = np.array([classes.index(text) if text else -1 for text in [*texts, ""]], np.intp)
    numbers = of_value[codes]
    empty = (table.geometry.isna() | table.geometry.is_empty).to_numpy()
    kept = (numbers >= 0) & ~empty
    return Labels(
        source=source,
        geometries=table.geometry.to_numpy()[kept],
        numbers=numbers[kept],
        classes=classes,
        crs=table.crs,
        colours=_colours(table, numbers, classes),
        nameless=int((~kept).sum()),
    )


def _class_column(columns: Sequence[str], source: str, asked: str | None) -> str:
    if asked is not None:
        if asked not in columns:
            raise DataError(f"{source} has no column {asked!r}; {did_you_mean(asked, columns)}")
        return asked
    lower = {name.lower(): name for name in reversed(columns)}
    for name in _CLASS_COLUMNS:
        if name in lower:
            return lower[name]
    others = [name for name in columns if name.lower() not in _COLOUR_COLUMNS]
    if len(others) == 1:
        return others[0]
    raise DataError(
        f"{source} has the columns {', '.join(columns[:20]) or '(none)'}, of which none is called "
        "'class'; name the one that holds the classes with --column"
    )


def class_name(value: Any, source: str) -> str:
    """A class as plain text; empty where there is none.

    Raises:
        DataError: it is too long for a name, or holds characters that cannot be printed.
    """
    if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value):
        value = int(value)
    text = " ".join(str(value).split())
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise DataError(
            f"{source} holds a class {text[:40]!r}, which is no name: at most {_LONGEST_NAME} "
            "printable characters are"
        )
    return text


def class_order(texts: Sequence[str]) -> Callable[[str], Any]:
    """How classes are sorted: by size where all of them are numbers."""
    try:
        numbers = {text: float(text) for text in texts if text}
    except ValueError:
        return str
    return lambda text: (numbers[text], text)


def _colours(table: Any, numbers: NDArray[np.intp], classes: Sequence[str]) -> dict[str, Colour]:
    """The first colour that a table gives each class."""
    column = next((name for name in table.columns if str(name).lower() in _COLOUR_COLUMNS), None)
    colours: dict[str, Colour] = {}
    if column is None:
        return colours
    present, first = np.unique(numbers, return_index=True)
    for number, row in zip(present, first, strict=True):
        match = re.fullmatch("#?([0-9a-fA-F]{6})", str(table[column].iloc[row]))
        if match and number >= 0:
            red, green, blue = bytes.fromhex(match[1])
            colours[classes[number]] = (red, green, blue)
    return colours
