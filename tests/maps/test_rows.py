"""Finished rows on disk, read a few at a time."""

from pathlib import Path

import numpy as np
import pytest

from deo.errors import OutputError
from deo.maps.rows import CellRows, JoinedRows, Rows, Shape


def written(folder: Path, shape: Shape) -> Rows:
    """Rows of a map whose numbers count upwards, stored row by row."""
    values = np.arange(shape.channels * shape.cells, dtype="<f4")
    values.tofile(folder / "values")
    np.arange(shape.cells, dtype="<f4").tofile(folder / "valid")
    return Rows(folder / "values", folder / "valid", shape)


def test_shape__counts_values_and_valid_fractions() -> None:
    assert Shape(3, 5, 4).cells == 20
    assert Shape(3, 5, 4).bytes == (3 + 1) * 20 * 4


def test_rows__some_rows_of_some_channels(tmp_path: Path) -> None:
    rows = written(tmp_path, Shape(3, 5, 4))
    whole = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    np.testing.assert_array_equal(rows.values(1, 4), whole[1:4])
    np.testing.assert_array_equal(rows.values(0, 2, slice(1, 3)), whole[:2, 1:3])
    np.testing.assert_array_equal(rows.valid(2, 4), np.arange(8, 16).reshape(2, 4))


def test_rows__blocks_cover_the_map_once(tmp_path: Path) -> None:
    rows = written(tmp_path, Shape(3, 5, 4))
    blocks = list(rows.blocks(budget=2 * 3 * 4 * 4))
    assert [start for start, _ in blocks] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), rows.values(0, 5))


def test_rows__a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    rows = written(tmp_path, Shape(3, 5, 4))
    (tmp_path / "values").write_bytes(b"\0" * 100)
    with pytest.raises(OutputError, match="ends early"):
        rows.values(0, 5)


def test_joined_rows__are_read_as_one_map(tmp_path: Path) -> None:
    parts = []
    for index, height in enumerate((2, 1, 3)):
        folder = tmp_path / str(index)
        folder.mkdir()
        parts.append(written(folder, Shape(3, height, 4)))
    whole = np.concatenate([part.values(0, part.shape.height) for part in parts])
    valid = np.concatenate([part.valid(0, part.shape.height) for part in parts])
    joined = JoinedRows(parts)
    assert joined.shape == Shape(3, 6, 4)
    for start, stop in ((0, 6), (0, 1), (1, 4), (2, 3), (5, 6)):
        np.testing.assert_array_equal(joined.values(start, stop), whole[start:stop])
        np.testing.assert_array_equal(
            joined.values(start, stop, slice(1, 2)), whole[start:stop, 1:2]
        )
        np.testing.assert_array_equal(joined.valid(start, stop), valid[start:stop])
    blocks = list(joined.blocks(budget=2 * 3 * 4 * 4))
    assert [start for start, _ in blocks] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), whole)


def test_cell_rows__are_the_rows_of_an_array() -> None:
    array = np.arange(60, dtype=np.float32).reshape(3, 5, 4)
    array[:, 4, 1] = np.nan
    rows = CellRows(array)
    assert rows.shape == Shape(3, 5, 4)
    np.testing.assert_array_equal(rows.values(1, 3, slice(2)), array[:2, 1:3].transpose(1, 0, 2))
    np.testing.assert_array_equal(rows.valid(4, 5), [[1, 0, 1, 1]])


def test_cell_rows__of_a_map_of_one_channel() -> None:
    plane = CellRows(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    assert plane.shape == (1, 2, 3)
    np.testing.assert_array_equal(plane.values(1, 2), [[[3, 4, 5]]])
