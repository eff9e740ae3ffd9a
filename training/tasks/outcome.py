"""What a protocol measured: one confusion matrix for every unit that is scored by itself."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.training.tasks.dataset import Split
from deo.training.tasks.scores import confusion, multilabel_confusion
from deo.training.tasks.task import Benchmark, Task

BLOCK = 64
BLOCK_UNIT = f"block of {BLOCK} x {BLOCK} pixels"


class Units(NamedTuple):
    """What was right and wrong, unit by unit.

    `matrices`: (units, K, K) confusion matrices, rows the truth.
    `samples`: (units,) names of the samples that the units are of.
    """

    matrices: NDArray[np.int64]
    samples: tuple[str, ...]


class Outcome(NamedTuple):
    """What a protocol measured.

    `units`: see `Units`.
    `unit`: what a unit is: a tile, a block of a map.
    `settings`: what was chosen or found on the way, JSON-able.
    `model`: what was measured: its name, weights and contract, JSON-able.
    `rivals`: what a tuned network is compared with, on the same units.
    """

    units: Units
    unit: str
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    rivals: Mapping[str, Units] = MappingProxyType({})


def tile_units(
    split: Split, truth: NDArray[np.int64], predicted: NDArray[Any], benchmark: Benchmark
) -> Units:
    """One unit per tile of a split."""
    return Units(tile_confusions(truth, predicted, benchmark), split.names)


def tile_confusions(
    truth: NDArray[np.int64], predicted: NDArray[Any], benchmark: Benchmark
) -> NDArray[np.int64]:
    """(N, K, K): one confusion matrix per tile."""
    if benchmark.task is Task.MULTILABEL:
        pairs = zip(truth, predicted, strict=True)
        return np.stack([multilabel_confusion(one, other) for one, other in pairs])
    rows = [
        confusion(np.atleast_1d(one), np.atleast_1d(other), classes=benchmark.class_count)
        for one, other in zip(truth, predicted, strict=True)
    ]
    return np.stack(rows)


def block_confusions(
    truth: NDArray[np.int64], predicted: NDArray[Any], *, classes: int, side: int = BLOCK
) -> list[NDArray[np.int64]]:
    """One confusion matrix per square block of a map: neighbouring pixels are no independent units.

    Blocks without a known pixel are left out; a map without any gives one empty matrix.
    """
    height, width = truth.shape
    corners = [(row, col) for row in range(0, height, side) for col in range(0, width, side)]
    matrices = [
        confusion(
            truth[row : row + side, col : col + side],
            predicted[row : row + side, col : col + side],
            classes=classes,
        )
        for row, col in corners
    ]
    return [matrix for matrix in matrices if matrix.any()] or [matrices[0]]
