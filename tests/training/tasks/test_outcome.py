"""Confusion matrices of units: tiles, and blocks of maps."""

from typing import cast

import numpy as np

from deo.training.tasks.dataset import Layout
from deo.training.tasks.outcome import BLOCK, block_confusions, tile_confusions
from deo.training.tasks.scores import IGNORE, confusion
from deo.training.tasks.task import Benchmark, Task


def bench(task: Task) -> Benchmark:
    return Benchmark(name="toy", task=task, classes=3, layout=cast(Layout, None), metric="accuracy")


def test_block_confusions__add_up_to_the_map_and_leave_out_unknown_blocks() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, BLOCK + 5, 3 * BLOCK))
    truth[:BLOCK, :BLOCK] = IGNORE
    matrices = block_confusions(truth, predicted, classes=3)
    assert len(matrices) == 2 * 3 - 1
    np.testing.assert_array_equal(sum(matrices), confusion(truth, predicted, classes=3))


def test_block_confusions__an_unknown_map_gives_one_empty_matrix() -> None:
    (matrix,) = block_confusions(np.full((70, 70), IGNORE), np.zeros((70, 70), int), classes=2)
    assert not matrix.any()


def test_tile_confusions__one_matrix_per_tile() -> None:
    matrices = tile_confusions(np.array([0, 2]), np.array([0, 1]), bench(Task.CLASSIFY))
    assert matrices.shape == (2, 3, 3)
    assert matrices[0, 0, 0] == matrices[1, 2, 1] == 1
    assert matrices.sum() == 2


def test_tile_confusions__multilabel_counts_presence() -> None:
    truth, predicted = np.array([[1, 0, 1]]), np.array([[1, 1, 0]])
    matrices = tile_confusions(truth, predicted, bench(Task.MULTILABEL))
    assert matrices.tolist() == [[[0, 1], [1, 1]]]
