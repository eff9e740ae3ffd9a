import json

import numpy as np
import pytest

from deo.errors import ConfigError
from deo.maps.block_validation import validate
from deo.maps.examples import Examples

pytest.importorskip("sklearn")


def examples(number: int = 200, *, apart: float, field: float = 0.0) -> Examples:
    """Synthetic: two classes `apart`, and a smooth field in the features that tells the place."""
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, 64, (2, number))
    numbers = (np.sin(rows / 9) * np.sin(columns / 9) > 0).astype(np.intp)
    vectors = rng.normal(size=(number, 4)).astype(np.float32)
    vectors[:, 0] += apart * numbers
    vectors += field * np.stack((rows, columns, rows + columns, rows - columns), axis=1)
    return Examples(vectors, numbers, rows, columns, ("a", "b"), ())


def test_validate__judges_each_cell_once() -> None:
    accuracy, notes = validate(examples(apart=3), method="logistic")
    assert accuracy is not None
    assert notes == ()
    assert (accuracy.cells, accuracy.folds, accuracy.block) == (200, 5, 8)
    assert accuracy.blocks > 20
    confusion = np.array(accuracy.confusion)
    assert accuracy.overall == pytest.approx(np.trace(confusion) / 200)
    assert accuracy.low < accuracy.overall < accuracy.high
    assert 0.88 < accuracy.overall < 0.99
    assert accuracy.recall == pytest.approx(tuple(np.diag(confusion) / confusion.sum(axis=1)))
    assert accuracy.precision == pytest.approx(tuple(np.diag(confusion) / confusion.sum(axis=0)))
    assert json.loads(json.dumps(accuracy.record()))["overall"] == round(accuracy.overall, 4)
    assert validate(examples(apart=3), method="logistic").accuracy == accuracy


def test_validate__is_not_flattered_by_neighbours() -> None:
    """Features that tell the place alone look good to small blocks, and not to large ones."""
    place = examples(800, apart=0, field=2.0)
    near = validate(place, method="neighbours", block=1).accuracy
    far = validate(place, method="neighbours", block=24).accuracy
    assert near is not None
    assert far is not None
    assert near.overall > 0.85
    assert far.overall < near.overall - 0.1


def test_validate__says_when_blocks_are_too_few() -> None:
    accuracy, notes = validate(examples(apart=3), method="logistic", block=32)
    assert accuracy is not None
    assert accuracy.blocks == 4
    assert "4 blocks only" in notes[0]
    assert accuracy.high - accuracy.low > 0.1
    accuracy, notes = validate(examples(apart=3), method="logistic", block=64)
    assert accuracy is None
    assert "examples of a lie in one block of 64 x 64 cells" in notes[0]
    with pytest.raises(ConfigError, match="as large as a cell"):
        validate(examples(apart=3), method="logistic", block=0)


def test_validate__an_interval_is_left_where_all_is_right() -> None:
    accuracy, _ = validate(examples(60, apart=50), method="logistic")
    assert accuracy is not None
    assert accuracy.overall == 1
    assert accuracy.high == pytest.approx(1)
    assert 0.8 < accuracy.low < 0.97
