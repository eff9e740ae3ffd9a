"""Chips: squares of ground in a map, each with the mean of the features in it.

A chip's embedding is the mean of its cells, each weighted by the fraction of it that is valid.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, OutputError, SceneError
from deo.maps.metadata import MapInfo
from deo.maps.rows import RowReader
from deo.scene.earth import Area, Ground

_STEPS = 16  # segments at most of a chip's side


class Chips(NamedTuple):
    """Chips that hold any valid pixel.

    Args:
        windows: (n, 4), row, col, height and width in pixels of the scene.
        valid_fraction: (n,).
        embedding: (n, channels).
    """

    windows: NDArray[np.int64]
    valid_fraction: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def take(self, which: NDArray[np.int64]) -> "Chips":
        """Some of them, in the order of `which`."""
        return Chips(self.windows[which], self.valid_fraction[which], self.embedding[which])


def check_side(info: MapInfo, chip: int) -> None:
    """Refuse chips of `chip` pixels that do not fall on cells.

    Raises:
        ConfigError: the message names a side that would do.
    """
    if chip < info.stride or chip % info.stride:
        raise ConfigError(
            f"chips of {chip} pixels are no multiple of the layer's stride {info.stride}; "
            f"try {max(1, round(chip / info.stride)) * info.stride}"
        )


def check_place(info: MapInfo, *, height: int, width: int) -> None:
    """Refuse a scene of `height` x `width` pixels that does not lie on Earth as a whole.

    Raises:
        OutputError: nothing says where on Earth it is.
    """
    areas(info, np.array([[0, 0, height, width]]))


def pool(rows: RowReader, info: MapInfo, *, chip: int, height: int, width: int) -> Iterator[Chips]:
    """Mean features of chips of `chip` pixels, one row of chips after the other.

    Args:
        height, width: of the scene in pixels; chips at its edges are cut off there.
    """
    step = chip // info.stride
    lefts = np.arange(0, rows.shape.width, step)
    for top in range(0, rows.shape.height, step):
        end = min(top + step, rows.shape.height)
        weight = rows.valid(top, end)
        values = np.nan_to_num(rows.values(top, end), copy=False)
        sums = np.add.reduceat((values * weight[:, None]).sum(axis=0), lefts, axis=1).T
        weights = np.add.reduceat(weight.sum(axis=0), lefts)
        kept = np.flatnonzero(weights > 0)
        columns = lefts[kept] * info.stride
        windows = np.stack(
            (
                np.full(len(kept), top * info.stride),
                columns,
                np.full(len(kept), min(chip, height - top * info.stride)),
                np.minimum(chip, width - columns),
            ),
            axis=1,
        )
        area = windows[:, 2] * windows[:, 3] / info.stride**2
        yield Chips(
            windows,
            np.minimum(weights[kept] / area, 1).astype(np.float32),
            (sums[kept] / weights[kept, None]).astype(np.float32),
        )


def spool_chips(
    rows: RowReader, info: MapInfo, path: Path, *, chip: int, height: int, width: int
) -> Chips:
    """The chips of a whole map; their embeddings lie in the new file `path` and are read from it.

    Args:
        height, width: of the scene in pixels.
    """
    windows, fractions = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.float32)]
    with path.open("xb") as file:
        for chips in pool(rows, info, chip=chip, height=height, width=width):
            windows.append(chips.windows)
            fractions.append(chips.valid_fraction)
            file.write(np.ascontiguousarray(chips.embedding).data)
    count = sum(map(len, windows))
    shape = (count, rows.shape.channels)
    # an empty file cannot be mapped
    embedding = np.memmap(path, np.float32, "r", shape=shape) if count else np.zeros(shape, "f4")
    return Chips(np.concatenate(windows), np.concatenate(fractions), embedding)


def areas(info: MapInfo, windows: NDArray[np.int64]) -> list[Area]:
    """The ground of windows (n, 4) of row, col, height, width, in pixels of the scene."""
    top, left, height, width = windows.T
    boxes = np.stack((left, top, left + width, top + height), axis=1) / info.stride
    ground = Ground(name=info.source, crs=info.crs, transform=info.transform)
    try:
        return ground.outlines(boxes, steps=_STEPS)
    except SceneError as error:
        raise OutputError(
            f"{error}, so chips have no place; write a .tif or .zarr, or give the scene one with "
            "rasterio's `rio edit-info --crs` (gdalwarp -t_srs, where it has another)"
        ) from error
