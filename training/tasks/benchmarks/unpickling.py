"""Read pickles from files that nobody vouches for.

Numbers, text, lists, dicts and arrays come out. Code that a pickle asks to run is not run.
"""

import ast
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError


def unpickled(stored: Any, path: Path) -> Any:
    """The content of a pickled attribute.

    Args:
        stored: the pickle, or, as GEO-Bench stores it, `str(pickle.dumps(...))`.
        path: the file that messages name.

    Raises:
        DataError: it is no pickle, or it asks for something that no label consists of.
    """
    try:
        # literal_eval reads the text of a bytes object back and evaluates nothing else
        data = ast.literal_eval(stored) if isinstance(stored, str) else bytes(stored)
        return _Numbers(io.BytesIO(data)).load()
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error
    except Exception as error:  # a hostile or truncated pickle may raise anything
        raise DataError(f"{path.name}: its pickled attribute cannot be read: {error}") from error


class _Inert:
    """Stands for an object of a metadata class: accepts every call and does nothing."""

    def __new__(cls, *_args: Any, **_named: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_named: Any) -> None: ...

    def __call__(self, *_args: Any, **_named: Any) -> "_Inert":
        return self

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _value: Any) -> None: ...

    def extend(self, _values: Any) -> None: ...


_METADATA = ("geobench", "ccb", "rasterio", "affine", "datetime", "pandas", "shapely", "pyproj")


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes, as pickles before protocol 3 write them."""
    if encoding != "latin1":
        raise DataError(f"its pickled attribute asks for the codec {encoding}; refused")
    return text.encode("latin1")


_NDARRAY = "numpy.ndarray"  # what pickles pass to `_reconstruct`; a text, so it cannot be called
_PLAIN = "biufcSU"  # kinds of dtype without pointers


class _Kind:
    """A dtype of plain values.

    Only the byte order is taken from the pickle's state, since numpy's own dtype would also take
    flags that hide pointers.
    """

    def __init__(self, code: Any, *_options: Any) -> None:
        self.plain = np.dtype(code)
        if self.plain.kind not in _PLAIN:
            raise DataError(f"its pickled attribute holds values of type {self.plain}; refused")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array that takes plain values only."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, fortran, raw = state
        super().__setstate__((version, shape, _checked(kind).plain, fortran, raw))


def _checked(kind: Any) -> _Kind:
    if not isinstance(kind, _Kind):
        raise DataError(f"its pickled attribute gives {kind!r} for a dtype; refused")
    return kind


def _reconstruct(kind: Any, _shape: Any, _code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise DataError(f"its pickled attribute makes an array of {kind!r}; refused")
    return _Array(0, np.int8)


def _from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    # a copy, because a later state of `raw` would free the memory under this array
    return np.frombuffer(bytes(raw), _checked(kind).plain).reshape(shape, order=order)


def _scalar(kind: Any, raw: Any) -> Any:
    return np.frombuffer(bytes(raw), _checked(kind).plain, count=1)[0]


_ARRAYS = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _Kind,
    "collections.OrderedDict": dict,
    "_codecs.encode": _latin1,
} | {
    f"numpy.{core}.{name}": function
    for core in ("core", "_core")
    for name, function in (
        ("multiarray._reconstruct", _reconstruct),
        ("multiarray.scalar", _scalar),
        ("numeric._frombuffer", _from_buffer),
    )
}


class _Numbers(pickle.Unpickler):
    """Creates built-in values and arrays; metadata become `_Inert`; everything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" in _ARRAYS:
            return _ARRAYS[f"{module}.{name}"]
        if module.split(".")[0] in _METADATA:
            return _Inert
        raise DataError(f"its pickled attribute asks for {module}.{name}; refused")
