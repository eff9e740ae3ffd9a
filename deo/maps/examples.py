"""Labelled cells of a map, with the features that are there."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError
from deo.maps.label_cells import LabelledCells, by_window, lay, said
from deo.maps.labels import Labels
from deo.maps.stack import FeatureStack
from deo.scene.window import Window


class Examples(NamedTuple):
    """Labelled cells that have features.

    Args:
        vectors: features, (n, channels) float32.
        numbers: of the class of each, an index of `classes`, (n,).
        rows, columns: where each lies on the map's grid, (n,).
        classes: their names; all of them have examples.
        notes: what became of labels that gave no example, in whole sentences.
    """

    vectors: NDArray[np.float32]
    numbers: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def gather(stack: FeatureStack, labels: Labels) -> Examples:
    """The features where the labels lie: of a point the cell around it, of a polygon the cells
    whose centres it holds.

    Raises:
        SceneError: the map has no position on the Earth.
        DataError: fewer than two classes have examples, or labels are lines.
    """
    cells = lay(stack, labels)
    vectors = np.empty((len(cells.rows), stack.shape.channels), np.float32)
    for inside in by_window(stack.windows(), cells.rows, cells.columns):
        rows, columns = cells.rows[inside], cells.columns[inside]
        top, left = rows.min(), columns.min()
        part = Window(
            row=int(top),
            col=int(left),
            height=int(rows.max() - top) + 1,
            width=int(columns.max() - left) + 1,
        )
        vectors[inside] = stack.read(part)[:, rows - top, columns - left].T
    known = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    notes = list(cells.notes)
    if not known.all():
        notes.append(
            f"{said(int((~known).sum()), 'labelled cell holds', 'labelled cells hold')} no data."
        )
    return _examples(cells, labels, vectors, known, notes)


def _examples(
    cells: LabelledCells,
    labels: Labels,
    vectors: NDArray[np.float32],
    known: NDArray[np.bool_],
    notes: list[str],
) -> Examples:
    """The cells that are known, of the classes that have any."""
    counts = np.bincount(cells.numbers[known], minlength=len(labels.classes))
    kept = [name for name, count in zip(labels.classes, counts, strict=True) if count]
    if len(kept) < 2:
        raise DataError(
            f"{labels.source} gives examples of {len(kept)} class{'es' * (len(kept) != 1)} on this "
            f"map{f' ({kept[0]})' if kept else ''}, and a classifier needs two or more. "
            f"{' '.join(notes)}".rstrip()
        )
    if lost := [name for name in labels.classes if name not in kept]:
        notes.append(f"There is no example of {', '.join(lost)} on this map, which is left out.")
    if few := [f"{name} ({count})" for name, count in zip(labels.classes, counts, strict=True)
               if 0 < count < 5]:  # fmt: skip
        notes.append(f"These classes have fewer than five labelled cells: {', '.join(few)}.")
    renumbered = np.cumsum(counts > 0) - 1
    return Examples(
        vectors=vectors[known],
        numbers=renumbered[cells.numbers[known]].astype(np.intp),
        rows=cells.rows[known],
        columns=cells.columns[known],
        classes=tuple(kept),
        notes=tuple(notes),
    )
