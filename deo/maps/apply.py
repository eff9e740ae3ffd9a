"""A classifier over the whole of a map, part by part."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError
from deo.files.publish import disk_errors
from deo.maps.cell_area import cell_areas
from deo.maps.class_map import NODATA, labels
from deo.maps.classifiers import Classifier
from deo.maps.rows import ITEM, RowReader, Rows, Shape
from deo.maps.stack import FeatureStack


class Applied(NamedTuple):
    """The probabilities of classes on disk, and the ground that each class was given.

    Args:
        rows: NaN where a map has no data.
        areas: square metres, (classes,); None where the map has no position on the Earth.
    """

    rows: RowReader
    areas: NDArray[np.float64] | None


def apply_classifier(
    stack: FeatureStack,
    classifier: Classifier,
    path: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Applied:
    """Compute the probabilities of every cell, into the new file `path`.

    Args:
        progress: told (parts dealt with, parts in all).

    Raises:
        OutputError: the disk refuses.
        DataError: the features are not as many as the classifier takes.
    """
    channels, height, width = stack.shape
    if channels != classifier.channels:
        raise DataError(
            f"the classifier takes {classifier.channels} features, and the maps hold {channels}"
        )
    shape = Shape(len(classifier.classes), height, width)
    areas = None if stack.info.crs is None else np.zeros(shape.channels)
    windows = stack.windows(beside=shape.channels)
    strip = np.empty((windows[0].height, shape.channels, width), ITEM)
    with disk_errors(path), path.open("xb") as file:
        for number, window in enumerate(windows, start=1):
            vectors = stack.read(window).reshape(channels, -1).T
            shares = classifier.probabilities(vectors).reshape(window.height, window.width, -1)
            rows, columns = window.slices
            strip[: window.height, :, columns] = shares.transpose(0, 2, 1)
            if columns.stop == width:
                done = strip[: window.height]
                file.write(done.data)
                if areas is not None:
                    areas += _areas(stack, done, rows.start)
            if progress is not None:
                progress(number, len(windows))
    # nothing that is written from these asks how much of a cell is valid
    return Applied(Rows(path, path, shape), areas)


def _areas(stack: FeatureStack, shares: NDArray[np.float32], first: int) -> NDArray[np.float64]:
    """Square metres of each class in some rows."""
    given = labels(shares)
    cells = cell_areas(
        stack.info.crs, stack.info.transform, first=first, count=len(given), width=given.shape[1]
    )
    sums = np.bincount(given.ravel(), weights=cells.ravel(), minlength=NODATA + 1)
    return sums[: shares.shape[1]].astype(np.float64)


class Margin(RowReader):
    """How much more probable the most probable class is than the second, 0 to 1; one channel."""

    def __init__(self, probabilities: RowReader) -> None:
        self._probabilities = probabilities

    @property
    def shape(self) -> Shape:
        return self._probabilities.shape._replace(channels=1)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> NDArray[np.float32]:
        first = np.partition(self._probabilities.values(start, stop), (-2, -1), axis=1)[:, -2:]
        margin: NDArray[np.float32] = first[:, 1:] - first[:, :1]
        return margin

    def valid(self, start: int, stop: int) -> NDArray[np.float32]:
        return np.isfinite(self.values(start, stop)[:, 0]).astype(np.float32)
