"""What the page shows and what was done on it: views, labels, the live classifier, and undo."""

import contextlib
import shlex
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, SceneError, require
from deo.explorer.colour import TrueColour
from deo.explorer.labelling import Example, Labelling, colour_text
from deo.explorer.levels import SIDE, FeatureLevels, Sample, open_levels
from deo.explorer.views import (
    ChangeView,
    ClassesView,
    ComponentsView,
    SceneView,
    SimilarityView,
    UncertaintyView,
    View,
)
from deo.maps.classifiers import Classifier, fit_classifier
from deo.maps.classify import classify
from deo.maps.label_files import EXTRA
from deo.maps.labels import class_order
from deo.maps.stack import FeatureMap, FeatureStack, open_stack
from deo.scene.earth import Ground
from deo.scene.opening import open_scene

LABELS_NAME, MAP_NAME = "labels.geojson", "map.tif"
_UNDO = 200  # steps
_SUGGESTIONS = 5
_APART = 0.08  # of the longer side, between suggestions


class Cell(NamedTuple):
    """A cell of the finest grid."""

    row: int
    col: int


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

    def write_map(self, folder: Path) -> Path:
        """Write the map that `deo classify` makes of the examples into a folder that is empty.

        Raises:
            ConfigError: there are no examples.
            DataError: they are too few.
        """
        labels = folder / LABELS_NAME
        labels.write_text(self.labels(), encoding="utf-8")
        classify(self._features, folder / MAP_NAME, labels=labels)
        return folder / MAP_NAME

    def command(self) -> str:
        """What makes the exported map of the exported labels again."""
        names = [
            shlex.quote(str(one)) if isinstance(one, str | Path) else "FEATURES.tif"
            for one in self._features
        ]
        return f"deo classify {' '.join(names)} --labels {LABELS_NAME} -o {MAP_NAME}"

    def state(self) -> dict[str, Any]:
        """All that the page has to know, as JSON-able values."""
        with self._changing:
            labelling = self._labelling
            counts = np.bincount([each.number for each in labelling.examples] or [0], minlength=256)
            return {
                "map": self._about(),
                "version": self._version,
                "views": {
                    key: {"title": view.title, "legend": view.legend()}
                    for key, view in self._views.items()
                },
                "classes": [
                    {
                        "name": style.name,
                        "colour": colour_text(style.colour),
                        "count": int(counts[number]) if labelling.examples else 0,
                    }
                    for number, style in enumerate(labelling.classes)
                ],
                "examples": [list(each) for each in labelling.examples],
                "reference": self._reference,
                "suggestions": self._suggestions(),
                "undo": len(self._past),
                "command": self.command(),
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
        """Fit the classifier to the examples, as `deo classify` does: in the order of cells."""
        labelling = self._labelling
        self._version += 1
        classes = sorted(labelling.used, key=class_order(labelling.used))
        self._classifier = None
        for key in ("classes", "uncertainty"):
            self._views.pop(key, None)
        if len(classes) < 2:
            return
        examples = sorted(labelling.examples)
        vectors = np.stack([self._vectors[Cell(each.row, each.col)] for each in examples])
        names = [labelling.classes[each.number].name for each in examples]
        numbers = np.array([classes.index(name) for name in names], np.intp)
        self._classifier = fit_classifier(vectors, numbers, classes)
        self._views["classes"] = ClassesView(self._levels, self._classifier, labelling)
        self._views["uncertainty"] = UncertaintyView(self._levels, self._classifier)

    def _suggestions(self) -> list[Cell]:
        """Cells whose class is the most uncertain, apart from one another and from examples."""
        view = self._views.get("uncertainty")
        if not isinstance(view, UncertaintyView):
            return []
        _, height, width = self._stack.shape
        apart = _APART * max(height, width)
        taken = [(each.row, each.col) for each in self._labelling.examples]
        chosen: list[Cell] = []
        for position in np.argsort(-view.of(self._sample.vectors), kind="stable"):
            row, col = int(self._sample.rows[position]), int(self._sample.columns[position])
            if all(np.hypot(row - r, col - c) >= apart for r, c in (*taken, *chosen)):
                chosen.append(Cell(row, col))
            if len(chosen) == _SUGGESTIONS:
                break
        return chosen


def is_pair(stack: FeatureStack) -> bool:
    """Whether a stack is two maps whose features mean the same, of two dates for instance."""
    if len(stack.maps) != 2:
        return False
    first, second = stack.identity
    return first == second and stack.factors == (1, 1)


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


@contextlib.contextmanager
def exported_map(session: Session) -> Iterator[Path]:
    """The map of a session in a file that is deleted when the context ends."""
    with tempfile.TemporaryDirectory(prefix="deo-explore-") as folder:
        yield session.write_map(Path(folder))
