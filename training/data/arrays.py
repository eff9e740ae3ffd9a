"""Arrays from other people's files: `.npy` and HDF5, within bounds, from that file alone.

A header may claim any size, a pickle may run code, and a data set of HDF5 may lie in another
file: by a link, as external storage, or as a virtual data set.
"""

import io
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError

LARGEST_SAMPLE = 2**31
"""Bytes of one sample or series; PASTIS's longest has 0.02 GiB."""

_LARGEST_CHUNK = 512 * 2**20
_NUMBERS = "biuf"


def read_npy(source: Path | bytes, *, label: str) -> NDArray[Any]:
    """The array of a `.npy` file, of plain numbers.

    Args:
        source: the file, or all of its bytes.
        label: how messages call it.

    Raises:
        DataError: it is no `.npy`, is pickled or cut short, or claims more than it holds.
    """
    try:
        if isinstance(source, bytes):
            return _parse(io.BytesIO(source), len(source))
        with source.open("rb") as file:
            return _parse(file, os.fstat(file.fileno()).st_size)
    except Exception as error:  # a hostile header may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{label} cannot be read as .npy: {reason}") from error


def _parse(file: IO[bytes], size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise DataError(f"version {version} of the format; 1.0 or 2.0 is wanted")
    _check_numbers(dtype, "it")
    claimed = _size(shape, dtype)
    held = size - file.tell()
    if any(edge < 0 for edge in shape) or claimed > held:
        raise DataError(
            f"its header claims an array of {shape}, {claimed} bytes, and {held} bytes follow"
        )
    flat = np.frombuffer(file.read(claimed), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _check_numbers(dtype: Any, label: str) -> None:
    if dtype.kind not in _NUMBERS:
        raise DataError(f"{label} holds values of type {dtype}; plain numbers are wanted")


def _size(shape: tuple[int, ...], dtype: Any) -> int:
    size = int(dtype.itemsize)
    for edge in shape:
        size *= int(edge)
    return size


def own_dataset(file: Any, key: str, *, sample_axes: int = 0) -> Any:
    """A data set of numbers that lies in this HDF5 file.

    Args:
        file: an open `h5py.File`.
        key: its name at the top level.
        sample_axes: leading axes that count samples, which are read one at a time.

    Raises:
        DataError: it lies elsewhere, holds no numbers, or one sample is too large.
    """
    import h5py

    name = f"{Path(file.filename).name}: `{key}`"
    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise DataError(f"{name} is a link; copy the data into the file: h5repack follows none")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{name} is a {type(dataset).__name__.lower()}, not a data set")
    if dataset.is_virtual or dataset.external:
        raise DataError(f"{name} keeps its values in other files; copy them into this one")
    _check_numbers(dataset.dtype, name)
    if dataset.shape is None:
        raise DataError(f"{name} is empty; an array is wanted")
    for what, shape, most in (
        ("one sample", dataset.shape[sample_axes:], LARGEST_SAMPLE),
        ("one chunk", dataset.chunks or (0,), _LARGEST_CHUNK),
    ):
        size = _size(shape, dataset.dtype)
        if size > most:
            raise DataError(
                f"{name}: {what} has {size / 2**30:.1f} GiB; at most {most / 2**30:g} GiB are read"
            )
    return dataset
