"""Features in fewer bits: float16, or int8 with one scale per channel."""

import numpy as np
from numpy.typing import NDArray

from deo.errors import OutputError
from deo.maps.rows import RowReader

DTYPES = ("float32", "float16", "int8")
ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}
COMPRESSED = 0.92
"""Bytes that zstd leaves of one: features are nearly noise. Measured 0.84 to 0.92."""

INT8_NODATA = -128
_INT8_MAX = 127
_BLOCK_BYTES = 16 * 2**20


def fit_scales(rows: RowReader) -> NDArray[np.float32]:
    """Scale per channel, shape (channels,): value = int8 x scale, off by half a scale at most."""
    largest = np.zeros(rows.shape.channels, np.float32)
    for _, values in rows.blocks():
        np.fmax(largest, np.fmax.reduce(np.abs(values), axis=(0, 2)), out=largest)
    return _scales(largest)


def scales_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same of vectors (n, channels), which may lie on disk: some are read at a time."""
    largest = np.zeros(vectors.shape[1], np.float32)
    step = max(1, _BLOCK_BYTES // max(1, vectors[:1].nbytes))
    for start in range(0, len(vectors), step):
        np.fmax(largest, np.abs(vectors[start : start + step]).max(axis=0), out=largest)
    return _scales(largest)


def _scales(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    largest[~(largest > 0)] = 1.0
    return largest / np.float32(_INT8_MAX)


def to_int8(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Round values / scale; NaN becomes -128. `scales` broadcasts against `values`."""
    scaled = np.rint(values / scales)
    return np.where(np.isnan(scaled), INT8_NODATA, np.clip(scaled, -_INT8_MAX, _INT8_MAX)).astype(
        np.int8
    )


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to the nearest float16.

    Raises:
        OutputError: one is beyond 65504.
    """
    largest = np.fmax.reduce(np.abs(values), axis=None)
    if largest > np.finfo(np.float16).max:
        raise OutputError(
            f"a feature of size {largest:.4g} does not fit into float16 (at most 65504); "
            "choose float32 or int8"
        )
    return values.astype(np.float16)
