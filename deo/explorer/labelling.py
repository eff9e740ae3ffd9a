"""Classes and the cells that were labelled with them, as values: each change gives a new one."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from deo.errors import ConfigError
from deo.explorer.paint import Colour
from deo.maps.labels import MOST_CLASSES, class_name
from deo.scene.earth import Ground

_DIGITS = 9  # of degrees: a tenth of a millimetre
_MOST_EXAMPLES = 10_000
_COLOURS: tuple[Colour, ...] = (
    (0x2B, 0x7B, 0xBA), (0xE0, 0x7B, 0x1A), (0x2F, 0x9E, 0x5B), (0xC8, 0x3A, 0x46),
    (0x8A, 0x5C, 0xC2), (0xC9, 0xA2, 0x0C), (0x1C, 0x9A, 0xA8), (0xD6, 0x5D, 0xA8),
    (0x7A, 0x5B, 0x45), (0x6B, 0x72, 0x80),
)  # fmt: skip
"""What new classes get, in turn; apart for most eyes as far as ten colours can be."""


class ClassStyle(NamedTuple):
    """A class as it is shown."""

    name: str
    colour: Colour


class Example(NamedTuple):
    """A cell of the finest grid that belongs to a class, an index of `Labelling.classes`."""

    row: int
    col: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """What was labelled so far."""

    classes: tuple[ClassStyle, ...] = ()
    examples: tuple[Example, ...] = ()

    def with_class(self, name: str, colour: str | None = None) -> "Labelling":
        """One class more; without a colour it gets one of its own.

        Raises:
            ConfigError: the name is none, or taken; there are too many classes.
        """
        if len(self.classes) == MOST_CLASSES:
            raise ConfigError(f"{MOST_CLASSES} classes are the most that a map can hold")
        used = {style.colour for style in self.classes}
        free = [each for each in _COLOURS if each not in used]
        next_colour = free[0] if free else _COLOURS[len(self.classes) % len(_COLOURS)]
        style = ClassStyle(
            self._new_name(name), next_colour if colour is None else parse_colour(colour)
        )
        return replace(self, classes=(*self.classes, style))

    def changed_class(self, number: int, *, name: str, colour: str) -> "Labelling":
        """The same with another name or colour for a class.

        Raises:
            ConfigError: there is no such class, or the name is none, or taken.
        """
        old = self.classes[self._known(number)]
        new_name = old.name if name == old.name else self._new_name(name)
        classes = list(self.classes)
        classes[number] = ClassStyle(new_name, parse_colour(colour))
        return replace(self, classes=tuple(classes))

    def without_class(self, number: int) -> "Labelling":
        """The same without a class and its examples.

        Raises:
            ConfigError: there is no such class.
        """
        self._known(number)
        kept = [
            each._replace(number=each.number - (each.number > number))
            for each in self.examples
            if each.number != number
        ]
        classes = self.classes[:number] + self.classes[number + 1 :]
        return Labelling(classes=classes, examples=tuple(kept))

    def with_example(self, example: Example) -> "Labelling":
        """One example more; a cell that was labelled before changes its class.

        Raises:
            ConfigError: there is no such class, or there are too many examples.
        """
        self._known(example.number)
        cell = example.row, example.col
        others = tuple(each for each in self.examples if (each.row, each.col) != cell)
        if len(others) >= _MOST_EXAMPLES:
            raise ConfigError(
                f"{_MOST_EXAMPLES:,} examples are the most that this page takes; give more as "
                "polygons to deo classify"
            )
        return replace(self, examples=(*others, example))

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the classes that have examples."""
        numbers = {each.number for each in self.examples}
        return tuple(style.name for i, style in enumerate(self.classes) if i in numbers)

    def geojson(self, ground: Ground) -> str:
        """The examples as points, in the middle of their cells, as `deo classify` reads them.

        Raises:
            SceneError: nothing says where on Earth the cells lie.
        """
        rows, cols = (np.array([each[axis] for each in self.examples]) + 0.5 for axis in (0, 1))
        places = ground.degrees(cols, rows)
        points = zip(self.examples, places.longitude, places.latitude, strict=True)
        features = [_feature(self.classes[each.number], x, y) for each, x, y in points]
        lines = ",\n".join(json.dumps(feature, ensure_ascii=False) for feature in features)
        return f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'

    def _new_name(self, name: str) -> str:
        plain = class_name(name, "the page")
        if not plain:
            raise ConfigError("a class needs a name; type one")
        if plain in {style.name for style in self.classes}:
            raise ConfigError(f"there is a class {plain!r} already; choose another name")
        return plain

    def _known(self, number: int) -> int:
        if not 0 <= number < len(self.classes):
            raise ConfigError(f"there is no class number {number}; there are {len(self.classes)}")
        return number


def parse_colour(text: str) -> Colour:
    """The colour that `#rrggbb` says.

    Raises:
        ConfigError: it says none.
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ConfigError(f"{text[:20]!r} is no colour; give one as #rrggbb")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def colour_text(colour: Sequence[int]) -> str:
    """A colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _feature(style: ClassStyle, longitude: float, latitude: float) -> dict[str, Any]:
    place = [round(float(longitude), _DIGITS), round(float(latitude), _DIGITS)]
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": place},
        "properties": {"class": style.name, "colour": colour_text(style.colour)},
    }
