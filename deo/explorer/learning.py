"""The live classifier, and where an example would teach it most."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.explorer.labelling import Labelling
from deo.explorer.levels import Sample
from deo.maps.classifiers import Classifier, fit_classifier
from deo.maps.labels import class_order

_SUGGESTIONS = 5
_APART = 0.08  # of the longer side of the map, between suggestions


class Cell(NamedTuple):
    """A cell of the finest grid."""

    row: int
    col: int


def learn(labelling: Labelling, vectors: Mapping[Cell, NDArray[np.float32]]) -> Classifier | None:
    """Fit a classifier to examples just as `deo classify` does; None of fewer than two classes.

    Classes come in the order of labels that are read from a file, and examples in that of cells,
    so that the same examples give the same numbers here and there.

    Args:
        vectors: the features of each example's cell, (channels,).
    """
    classes = sorted(labelling.used, key=class_order(labelling.used))
    if len(classes) < 2:
        return None
    examples = sorted(labelling.examples)
    names = [labelling.classes[each.number].name for each in examples]
    return fit_classifier(
        np.stack([vectors[Cell(each.row, each.col)] for each in examples]),
        np.array([classes.index(name) for name in names], np.intp),
        classes,
    )


def suggest(
    sample: Sample, uncertainty: NDArray[np.float32], taken: Sequence[Cell], *, side: int
) -> list[Cell]:
    """Cells of a sample whose class is the most uncertain, apart from one another.

    Args:
        uncertainty: of each cell of the sample, (n,).
        taken: cells that suggestions are apart from, too.
        side: the longer one of the map, in cells.
    """
    chosen: list[Cell] = []
    for position in np.argsort(-uncertainty, kind="stable"):
        row, col = int(sample.rows[position]), int(sample.columns[position])
        if all(np.hypot(row - r, col - c) >= _APART * side for r, c in (*taken, *chosen)):
            chosen.append(Cell(row, col))
        if len(chosen) == _SUGGESTIONS:
            break
    return chosen
