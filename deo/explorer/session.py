"""What the page shows and what was done on it: views, labels, the live classifier, and undo."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, SceneError, require
from deo.explorer.colour import TrueColour
from deo.explorer.exports import command, exported_map
from deo.explorer.labelling import Example, Labelling, colour_text
from deo.explorer.learning import Cell, learn, suggest
from deo.explorer.levels import FeatureLevels, Sample, open_levels
from deo.explorer.tile import SIDE
from deo.explorer.views import (
    ChangeView,
    ClassesView,
    ComponentsView,
    SceneView,
    SimilarityView,
    UncertaintyView,
    View,
    is_pair,
)
from deo.maps.classifiers import Classifier
from deo.maps.label_files import EXTRA
from deo.maps.stack import FeatureMap, FeatureStack, open_stack
from deo.scene.earth import Ground
from deo.scene.opening import open_scene

_UNDO = 200  # steps


class Session:
    """One map of features being explored. Safe for several threads.

    Args:
        features: what `stack` was opened from.
        stack, levels: open as long as this is used.
        scene: its true colour; None: there is none to see.
    """

    def __init__(
        self,
        features: Sequence[FeatureMap],
        stack: FeatureStack,
        levels: FeatureLevels,
        scene: TrueColour | None = None,
    ) -> None:
        self._features, self._stack, self._levels, self._scene = features, stack, levels, scene
        info = stack.info
        self._ground = Ground(name=info.source, crs=info.crs, transform=info.transform)
        self._changing = threading.RLock()
        self._past: list[Labelling] = []
        self._labelling = Labelling()
        self._vectors: dict[Cell, NDArray[np.float32]] = {}
        self._reference: Cell | None = None
        self._classifier: Classifier | None = None
        self._version = 0
        self._sample: Sample = levels.sample()
        if not len(self._sample.vectors):
            raise SceneError(f"{info.source} holds no features: all of it is nodata")
        self._views: dict[str, View] = {}
        if scene is not None:
            self._views["scene"] = SceneView(scene)
        self._views["components"] = ComponentsView(levels, self._sample)
        if is_pair(stack):
            self._views["change"] = ChangeView(levels, self._sample)

    def png(self, view: str, level: int, row: int, col: int) -> bytes:
        """A tile of a view.

        Raises:
            ConfigError: there is no such view or tile.
        """
        shown = self._views.get(view)
        finest = self._scene.finest if view == "scene" and self._scene is not None else 0
        if shown is None or not finest <= level <= self._levels.highest:
            raise ConfigError(f"there is no view {view[:20]!r} at level {level} now")
        _, height, width = self._stack.shape
        side = SIDE * 2.0**level
        if not (0 <= row * side < height and 0 <= col * side < width):
            raise ConfigError(f"tile {row},{col} of level {level} is outside the map")
        return shown.png(level, row, col)

    def choose_reference(self, cell: Cell) -> None:
        """Compare all cells with this one from now on.

        Raises:
            ConfigError: it is outside the map, or holds no features.
        """
        vector = self._vector(cell)
        with self._changing:
            self._views["similarity"] = SimilarityView(self._levels, self._sample, vector)
            self._reference = cell
            self._version += 1

    def add_class(self, name: str, colour: str | None = None) -> None:
        """See `Labelling.with_class`."""
        with self._changing:
            self._change(self._labelling.with_class(name, colour))

    def change_class(self, number: int, *, name: str, colour: str) -> None:
        """See `Labelling.changed_class`."""
        with self._changing:
            self._change(self._labelling.changed_class(number, name=name, colour=colour))

    def remove_class(self, number: int) -> None:
        """See `Labelling.without_class`."""
        with self._changing:
            self._change(self._labelling.without_class(number))

    def add_example(self, cell: Cell, number: int) -> None:
        """See `Labelling.with_example`.

        Raises:
            ConfigError: also where the cell is outside the map, or holds no features.
        """
        vector = self._vector(cell)
        with self._changing:
            self._vectors[cell] = vector
            self._change(self._labelling.with_example(Example(*cell, number)))

    def undo(self) -> None:
        """Take back the last change of classes and examples, if there was one."""
        with self._changing:
            if self._past:
                self._labelling = self._past.pop()
                self._learn()

    def labels(self) -> str:
        """The examples as GeoJSON.

        Raises:
            ConfigError: there are none.
            SceneError: the map has no place on the Earth.
        """
        with self._changing:
            if not self._labelling.examples:
                raise ConfigError("there are no examples to export; add some first")
            return self._labelling.geojson(self._ground)

    def exported_map(self) -> AbstractContextManager[Path]:
        """The map that `deo classify` makes of the examples, see `exports.exported_map`.

        Raises:
            ConfigError: there are no examples.
            DataError: they are too few.
        """
        return exported_map(self._features, self.labels())

    def state(self) -> dict[str, Any]:
        """All that the page has to know, as JSON-able values."""
        with self._changing:
            labelling = self._labelling
            counts = Counter(each.number for each in labelling.examples)
            return {
                "map": self._about(),
                "version": self._version,
                "views": {
                    key: {"title": view.title, "legend": view.legend()}
                    for key, view in self._views.items()
                },
                "classes": [
                    {"name": name, "colour": colour_text(colour), "count": counts[number]}
                    for number, (name, colour) in enumerate(labelling.classes)
                ],
                "examples": [list(each) for each in labelling.examples],
                "reference": self._reference,
                "suggestions": self._suggestions(),
                "undo": len(self._past),
                "command": command(self._features),
            }

    def _about(self) -> dict[str, Any]:
        info, (channels, height, width) = self._stack.info, self._stack.shape
        return {
            "source": info.source,
            "model": info.tags["DEO_MODEL"],
            "layer": ", ".join(dict.fromkeys(str(one.info.layer) for one in self._stack.maps)),
            "maps": len(self._stack.maps),
            "channels": channels,
            "height": height,
            "width": width,
            "side": SIDE,
            "highest": self._levels.highest,
            "finest": 0 if self._scene is None else self._scene.finest,
            "placed": info.crs is not None,
        }

    def _vector(self, cell: Cell) -> NDArray[np.float32]:
        _, height, width = self._stack.shape
        if not (0 <= cell.row < height and 0 <= cell.col < width):
            raise ConfigError("this place is outside the map; choose one on it")
        vector = self._levels.vector(*cell)
        if vector is None:
            raise ConfigError("there are no features at this place (nodata); choose another one")
        return vector

    def _change(self, labelling: Labelling) -> None:
        self._past = [*self._past, self._labelling][-_UNDO:]
        self._labelling = labelling
        self._learn()

    def _learn(self) -> None:
        self._version += 1
        for key in ("classes", "uncertainty"):
            self._views.pop(key, None)
        self._classifier = learn(self._labelling, self._vectors)
        if self._classifier is not None:
            self._views["classes"] = ClassesView(self._levels, self._classifier, self._labelling)
            self._views["uncertainty"] = UncertaintyView(self._levels, self._classifier)

    def _suggestions(self) -> list[Cell]:
        view = self._views.get("uncertainty")
        if not isinstance(view, UncertaintyView):
            return []
        _, height, width = self._stack.shape
        taken = [Cell(each.row, each.col) for each in self._labelling.examples]
        uncertainty = view.of(self._sample.vectors)
        return suggest(self._sample, uncertainty, taken, side=max(height, width))


@contextlib.contextmanager
def open_session(features: Sequence[FeatureMap], scene: Any = None) -> Iterator[Session]:
    """Open maps of features, and a scene, to explore them.

    Args:
        features: maps of one place: layers whose cells fit into one another, or dates.
        scene: what `deo.open_scene` takes; None: no true colour.

    Raises:
        SceneError: something cannot be read, or the scene lies elsewhere.
        DataError: the maps do not lie on one grid.
    """
    require("sklearn.linear_model", extra=EXTRA)  # now, not at the first click, which waits for it
    with contextlib.ExitStack() as opened:
        stack = opened.enter_context(open_stack(features))
        levels = opened.enter_context(open_levels(stack, features))
        colour = None
        if scene is not None:
            colour = TrueColour(opened.enter_context(open_scene(scene)), stack.info)
        yield Session(features, stack, levels, colour)
