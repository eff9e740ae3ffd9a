"""Pickled labels: plain values come out as they went in, and nothing runs."""

import datetime as dt
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import DataError
from deo.training.tasks.benchmarks.unpickling import unpickled


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_unpickled__runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.hdf5: .*asks for posix\.mkdir; refused"):
        unpickled(str(pickle.dumps({"label": Bomb(tmp_path / "boom")})), Path("x.hdf5"))
    assert not (tmp_path / "boom").exists()
    for text in ("__import__('os').getcwd()", "b'no pickle'", "junk"):
        with pytest.raises(DataError, match="cannot be read"):
            unpickled(text, Path("x.hdf5"))


class Made:
    """Pickles to a call, and a state for what it returns."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


HIDDEN = (3, "|", None, ("a",), {"a": (np.dtype("u1"), 0)}, 8, 1, 0)
RECONSTRUCT = np.empty(0).__reduce__()[0]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "hostile",
    [
        Made(np.ndarray, ((1,), np.dtype("O"), b"A" * 8)),
        Made(np.ndarray, ((1,), "O", b"A" * 8)),
        Made(np.dtype, ("V8", False, True), HIDDEN),
        Made(RECONSTRUCT, (dict, (0,), b"b")),
        Made(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), "O", False, b"A" * 8)),
        np.array([{}], object),
        np.zeros(1, [("a", object)]),
    ],
    ids=range(7),
)
def test_unpickled__no_bytes_become_pointers(hostile: Any, protocol: int) -> None:
    with pytest.raises(DataError, match=r"x: .*(refused|cannot be read)"):
        unpickled(pickle.dumps({"label": hostile}, protocol), Path("x"))


def test_unpickled__no_array_lives_on_the_memory_of_another() -> None:
    """The state of an array may be set twice, which frees what it had."""
    array = np.arange(4.0)
    over = Made(np.empty(1).__reduce_ex__(5)[0], (array, array.dtype, (4,), "C"))
    first, second = unpickled(pickle.dumps([array, over], 4), Path("x"))
    assert np.array_equal(first, second)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "label",
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([True, False]),
        np.array(["field", "é"]),
        np.str_("field"),
        np.bool_(True),
    ],
    ids=range(6),
)
def test_unpickled__plain_values_as_they_were(label: Any, protocol: int) -> None:
    restored = unpickled(pickle.dumps(label, protocol), Path("x"))
    assert np.array_equal(restored, label)
    assert (restored.dtype.kind, restored.shape) == (label.dtype.kind, label.shape)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_unpickled__numbers_arrays_and_inert_metadata(protocol: int) -> None:
    content = {
        "label": np.arange(6).reshape(2, 3),
        "one": np.float64(0.5),
        "date": dt.datetime(2020, 1, 1),
        "transform": Affine.identity(),
        "crs": CRS.from_epsg(4326),
    }
    restored = unpickled(pickle.dumps(content, protocol), Path("x"))
    assert np.array_equal(restored["label"], content["label"])
    assert restored["one"] == 0.5
    assert not isinstance(restored["date"], dt.date)
