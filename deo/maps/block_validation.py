"""Accuracy of a classifier on parts of the map that it was not fitted on.

Neighbouring cells resemble each other, so that a random split judges a classifier by near copies of
its examples. Here whole blocks of ground are held out (Roberts et al. 2017, Ecography 40, 913).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, require
from deo.maps.classifiers import fit_classifier
from deo.maps.examples import Examples
from deo.maps.label_files import EXTRA

_FOLDS = 5
_ALONG = 8  # blocks along the longer side of the labelled ground, where no side is given
_FEW = 20  # blocks, below which an interval is rough itself


class Accuracy(NamedTuple):
    """How many labelled cells of ground that was held out were classified as labelled.

    Args:
        overall: their share, 0 to 1.
        low, high: its 95 % interval, with whole blocks as what was sampled.
        recall: of each class, the share of its cells that were given it (producer's accuracy).
        precision: of each class, the share of cells given it that are of it (user's accuracy);
            NaN where none was given it.
        confusion: cells by class as labelled, then by class as given.
        cells, blocks, folds: how many there were.
        block: side of a block in cells.
    """

    overall: float
    low: float
    high: float
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    cells: int
    blocks: int
    folds: int
    block: int

    def record(self) -> dict[str, Any]:
        """As JSON, with numbers of four digits behind the point; null for NaN."""

        def short(value: Any) -> Any:
            if isinstance(value, tuple):
                return [short(each) for each in value]
            if isinstance(value, float):
                return None if math.isnan(value) else round(value, 4)
            return value

        return {name: short(value) for name, value in self._asdict().items()}


class Validation(NamedTuple):
    """An accuracy, or None; and what is to be said of it in whole sentences."""

    accuracy: Accuracy | None
    notes: tuple[str, ...]


def validate(examples: Examples, *, method: str, block: int | None = None) -> Validation:
    """Fit on all blocks but some, judge on those, and so on until each was judged once.

    Args:
        block: side of a block in cells; None: an eighth of the longer side of the labelled ground.

    Raises:
        ConfigError: `block` is below 1.
    """
    if block is not None and block < 1:
        raise ConfigError("a block for the accuracy has to be as large as a cell at least")
    reach = max(np.ptp(examples.rows), np.ptp(examples.columns)) + 1
    side = block or max(1, -(-int(reach) // _ALONG))
    blocks = _blocks(examples, side)
    count = len(examples.classes)
    spread = [len(np.unique(blocks[examples.numbers == number])) for number in range(count)]
    folds = min(_FOLDS, *spread)
    if folds < 2:
        alone = examples.classes[int(np.argmin(spread))]
        return Validation(
            None,
            (
                f"The accuracy is not known: the examples of {alone} lie in one block of "
                f"{side} x {side} cells. Label each class in several parts of the map.",
            ),
        )
    given = np.full(len(blocks), -1)
    for held_out in _folds(examples.numbers, blocks, folds):
        given[held_out] = _judge(examples, held_out, method)
    accuracy = _accuracy(examples, given, blocks, folds=folds, side=side)
    notes = []
    if accuracy.blocks < _FEW:
        notes.append(
            f"The labels lie in {accuracy.blocks} blocks only, so that the accuracy and its "
            "interval are rough. Labels in more parts of the map make them firmer."
        )
    return Validation(accuracy, tuple(notes))


def _blocks(examples: Examples, side: int) -> NDArray[np.intp]:
    """The number of each example's block, (n,)."""
    pairs = np.stack((examples.rows // side, examples.columns // side), axis=1)
    inverse: NDArray[np.intp] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return inverse


def _folds(
    numbers: NDArray[np.intp], blocks: NDArray[np.intp], folds: int
) -> Iterator[NDArray[np.intp]]:
    """What is held out each time: whole blocks, with about the same share of each class."""
    selection = require("sklearn.model_selection", extra=EXTRA)
    splitter = selection.StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for _, held_out in splitter.split(np.zeros((len(numbers), 1)), numbers, blocks):
        yield held_out


def _judge(examples: Examples, held_out: NDArray[np.intp], method: str) -> NDArray[np.intp]:
    """The classes given to what is held out; one that only occurs there is given to nothing."""
    rest = np.delete(np.arange(len(examples.numbers)), held_out)
    present, numbers = np.unique(examples.numbers[rest], return_inverse=True)
    if len(present) == 1:
        return np.full(len(held_out), present[0])
    names = [examples.classes[number] for number in present]
    fitted = fit_classifier(examples.vectors[rest], numbers, names, method=method)
    shares = fitted.probabilities(examples.vectors[held_out])
    chosen: NDArray[np.intp] = present[shares.argmax(axis=1)]
    return chosen


def _accuracy(
    examples: Examples, given: NDArray[np.intp], blocks: NDArray[np.intp], *, folds: int, side: int
) -> Accuracy:
    count = len(examples.classes)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (examples.numbers, given), 1)
    right = np.bincount(blocks, weights=examples.numbers == given)
    low, high = _interval(right, np.bincount(blocks))
    diagonal, as_given = np.diag(confusion), confusion.sum(axis=0)
    precision = np.where(as_given > 0, diagonal / np.maximum(as_given, 1), np.nan)
    return Accuracy(
        overall=float(diagonal.sum() / confusion.sum()),
        low=low,
        high=high,
        recall=tuple((diagonal / confusion.sum(axis=1)).tolist()),
        precision=tuple(precision.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        cells=int(confusion.sum()),
        blocks=len(right),
        folds=folds,
        block=side,
    )


def _interval(right: NDArray[Any], cells: NDArray[Any]) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, for as many cells as the blocks are worth.

    Cells of a block go wrong together. The variance of the share between blocks says how many
    cells that were drawn one by one would be as much evidence (Dean and Pagano 2015, Journal of
    Survey Statistics and Methodology 3, 484); without any variance, one for each block.
    """
    stats = require("scipy.stats", extra=EXTRA)
    number, total = len(right), cells.sum()
    share = right.sum() / total
    variance = number / (number - 1) * np.square(right - share * cells).sum() / total**2
    worth = min(total, share * (1 - share) / variance) if variance > 0 else number
    quantile = float(stats.t.ppf(0.975, number - 1))
    spread = quantile**2 / worth
    middle = (share + spread / 2) / (1 + spread)
    half = quantile * math.sqrt(share * (1 - share) / worth + spread / (4 * worth)) / (1 + spread)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))
