"""Principal components of a feature map, fitted over the whole map in bounded memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.maps.rows import ITEM, RowReader, Rows

_BLOCK_BYTES = 16 * 2**20


class Components(NamedTuple):
    """The directions in which features vary most.

    Args:
        mean: (channels,).
        axes: (channels, k), orthonormal, most variance first; the largest entry of each is
            positive, so that the same features always give the same colours.
        share: (k,), of the whole variance.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    share: NDArray[np.float64]

    def rounded(self) -> "Components":
        """To nine digits, more than float32 holds: a record of them is short, and gives them back
        as they are.
        """
        return Components(*(_nine_digits(values) for values in self))


def fit_components(rows: RowReader, count: int = 3) -> Components:
    """The first `count` components of all valid features; axes of zeros where there are fewer."""
    channels = rows.shape.channels
    total, number = np.zeros(channels), 0
    for features in _valid_features(rows):
        total += features.sum(axis=0, dtype=np.float64)
        number += len(features)
    mean = total / max(number, 1)
    scatter = np.zeros((channels, channels))
    for features in _valid_features(rows):
        centred = features - mean.astype(np.float32)
        scatter += centred.T @ centred
    variances, vectors = np.linalg.eigh(scatter / max(number, 1))
    kept = min(count, channels)
    axes, share = np.zeros((channels, count)), np.zeros(count)
    if variances.sum() > 0:
        axes[:, :kept] = vectors[:, ::-1][:, :kept]
        share[:kept] = np.maximum(variances[::-1][:kept], 0) / variances.sum()
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
        axes *= np.where(largest < 0, -1, 1)
    return Components(mean, axes, share)


def project(rows: RowReader, components: Components, *, step: int = 1) -> NDArray[np.float32]:
    """Every `step`th cell of every `step`th row on the components: (height, width, k); NaN kept."""
    axes = components.axes.astype(np.float32)
    shift = (components.mean @ components.axes).astype(np.float32)
    lines = []
    for row in range(0, rows.shape.height, step):
        features = rows.values(row, row + 1)[0, :, ::step]
        lines.append(features.T @ axes - shift)
    return np.stack(lines)


def project_rows(rows: RowReader, components: Components, path: Path) -> Rows:
    """The whole map on the components, as rows in new files whose names begin with `path`."""
    axes = components.axes.astype(np.float32)
    shift = (components.mean @ components.axes).astype(np.float32)[:, None]
    values_path, valid_path = (
        path.with_name(f"{path.name}.{name}") for name in ("values", "valid")
    )
    with values_path.open("xb") as values, valid_path.open("xb") as valid:
        for start, features in rows.blocks(_BLOCK_BYTES):
            values.write(np.ascontiguousarray(axes.T @ features - shift, ITEM).data)
            fraction = rows.valid(start, start + len(features))
            valid.write(np.ascontiguousarray(fraction, ITEM).data)
    shape = rows.shape._replace(channels=axes.shape[1])
    return Rows(values_path, valid_path, shape)


def _nine_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.array([float(f"{value:.9g}") for value in values.ravel()])
    return rounded.reshape(values.shape)


def _valid_features(rows: RowReader) -> Iterator[NDArray[np.float32]]:
    """(cells, channels), some rows at a time, cells with NaN left out."""
    for _, values in rows.blocks(_BLOCK_BYTES):
        cells = values.transpose(0, 2, 1).reshape(-1, rows.shape.channels)
        yield cells[np.isfinite(cells[:, 0])]
