"""What can be seen of features: one view is numbers of a tile, painted, with a legend."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.explorer.colour import TrueColour
from deo.explorer.labelling import Labelling, colour_text
from deo.explorer.levels import FeatureLevels, Sample
from deo.explorer.paint import (
    class_png,
    colour_png,
    fit_stretch,
    paint_colours,
    ramp_colours,
    ramp_png,
)
from deo.maps.class_map import NODATA
from deo.maps.classifiers import Classifier
from deo.maps.components import fit_components
from deo.maps.rows import CellRows
from deo.maps.stack import FeatureStack

_TINY = float(np.finfo(np.float32).tiny)

Numbers = NDArray[np.float32]


class View(Protocol):
    """A way to look at a map."""

    @property
    def title(self) -> str: ...

    def png(self, level: int, row: int, col: int) -> bytes:
        """A tile as an image."""

    def legend(self) -> dict[str, Any]:
        """What its colours mean, as JSON-able values: `ramp`, `key` or `note`."""


@dataclass(frozen=True)
class SceneView:
    """The scene that the features were made from."""

    colour: TrueColour

    @property
    def title(self) -> str:
        return self.colour.title

    def png(self, level: int, row: int, col: int) -> bytes:
        return colour_png(self.colour.tile(level, row, col))

    def legend(self) -> dict[str, Any]:
        return {"note": "The scene as it was given."}


class ComponentsView:
    """The first three principal components as red, green and blue."""

    title = "Components"

    def __init__(self, levels: FeatureLevels, sample: Sample) -> None:
        self._levels = levels
        fitted = fit_components(CellRows(sample.vectors.T[:, None]))
        self._axes = fitted.axes.astype(np.float32)
        self._shift = (fitted.mean @ fitted.axes).astype(np.float32)
        self._share = fitted.share
        self._stretch = fit_stretch(self._project(sample.vectors))

    def png(self, level: int, row: int, col: int) -> bytes:
        tile = self._levels.tile(level, row, col)
        values = tile.laid_out(self._project(tile.vectors))
        return colour_png(paint_colours(values, self._stretch))

    def legend(self) -> dict[str, Any]:
        colours = ("#d63c3c", "#3ca046", "#3c5ad6")
        shares = zip(colours, self._share, strict=True)
        return {
            "key": [
                {"colour": colour, "text": f"Component {number}: {100 * share:.0f} %"}
                for number, (colour, share) in enumerate(shares, start=1)
            ],
            "note": "Alike colours are alike features. Percentages are of the whole variance.",
        }

    def _project(self, vectors: Numbers) -> Numbers:
        projected: Numbers = vectors @ self._axes - self._shift
        return projected


class SimilarityView:
    """The cosine of the features of every cell and those of one place."""

    title = "Similarity"

    def __init__(self, levels: FeatureLevels, sample: Sample, reference: Numbers) -> None:
        self._levels = levels
        length = max(float(np.linalg.norm(reference)), _TINY)
        self._unit = (reference / length).astype(np.float32)
        values = self.of(sample.vectors, sample.lengths)
        self._low = float(np.percentile(values, 2)) if len(values) else -1.0
        self._low = min(self._low, 0.99)

    def of(self, vectors: Numbers, lengths: Numbers) -> Numbers:
        """Of vectors (n, channels) and their lengths (n,), from -1 to 1."""
        cosine: Numbers = np.clip(vectors @ self._unit / lengths.clip(min=_TINY), -1, 1)
        return cosine

    def png(self, level: int, row: int, col: int) -> bytes:
        tile = self._levels.tile(level, row, col)
        return ramp_png(tile.laid_out(self.of(tile.vectors, tile.lengths)), self._low, 1.0)

    def legend(self) -> dict[str, Any]:
        return {
            **_ramp(f"{self._low:.2f} or less".replace("-", "−"), "1 (the same)"),
            "note": "Cosine of the features and those of the place you chose.",
        }


class ChangeView:
    """1 - cosine of the features of two dates, which lie one behind the other."""

    title = "Change"

    def __init__(self, levels: FeatureLevels, sample: Sample) -> None:
        self._levels = levels
        values = self.of(sample.vectors)
        self._high = max(float(np.percentile(values, 98)) if len(values) else 1.0, 1e-3)

    def of(self, vectors: Numbers) -> Numbers:
        """Of vectors (n, 2 channels), from 0 to 2."""
        first, second = np.split(vectors, 2, axis=1)
        dot = np.einsum("nc,nc->n", first, second)
        for one in (first, second):
            dot /= np.linalg.norm(one, axis=1).clip(min=_TINY)
        change: Numbers = 1 - np.clip(dot, -1, 1)
        return change

    def png(self, level: int, row: int, col: int) -> bytes:
        tile = self._levels.tile(level, row, col)
        return ramp_png(tile.laid_out(self.of(tile.vectors)), 0.0, self._high)

    def legend(self) -> dict[str, Any]:
        return {
            **_ramp("0 (none)", f"{self._high:.2f} or more"),
            "note": "1 minus the cosine of the features of the two dates.",
        }


class ClassesView:
    """The most probable class of every cell."""

    title = "Classes"

    def __init__(self, levels: FeatureLevels, classifier: Classifier, labelling: Labelling) -> None:
        self._levels, self._classifier = levels, classifier
        colours = {style.name: style.colour for style in labelling.classes}
        self._colours = [colours[name] for name in classifier.classes]

    def png(self, level: int, row: int, col: int) -> bytes:
        tile = self._levels.tile(level, row, col)
        numbers = np.full(tile.height * tile.width, NODATA, np.uint8)
        numbers[tile.known] = self._classifier.of_known(tile.vectors).argmax(axis=1)
        return class_png(numbers.reshape(tile.height, tile.width), self._colours)

    def legend(self) -> dict[str, Any]:
        pairs = zip(self._classifier.classes, self._colours, strict=True)
        return {"key": [{"colour": colour_text(colour), "text": name} for name, colour in pairs]}


class UncertaintyView:
    """How close the second most probable class comes to the first: 1 - margin."""

    title = "Uncertainty"

    def __init__(self, levels: FeatureLevels, classifier: Classifier) -> None:
        self._levels, self._classifier = levels, classifier

    def of(self, vectors: Numbers) -> Numbers:
        """Of vectors (n, channels): 0 where one class is certain, 1 where two are as probable."""
        shares = np.partition(self._classifier.of_known(vectors), -2, axis=1)
        uncertainty: Numbers = 1 - (shares[:, -1] - shares[:, -2])
        return uncertainty

    def png(self, level: int, row: int, col: int) -> bytes:
        tile = self._levels.tile(level, row, col)
        return ramp_png(tile.laid_out(self.of(tile.vectors)), 0.0, 1.0)

    def legend(self) -> dict[str, Any]:
        return {
            **_ramp("0 (certain)", "1 (two classes alike)"),
            "note": "An example where this is high teaches most.",
        }


def is_pair(stack: FeatureStack) -> bool:
    """Whether a stack is two maps whose features mean the same, of two dates for instance."""
    if len(stack.maps) != 2:
        return False
    first, second = stack.identity
    return first == second and stack.factors == (1, 1)


def _ramp(low: str, high: str) -> dict[str, Any]:
    stops = ramp_colours()[np.linspace(0, 254, 9).astype(int)]
    return {"ramp": [colour_text(colour) for colour in stops.tolist()], "low": low, "high": high}
