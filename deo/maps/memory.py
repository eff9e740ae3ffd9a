"""A map in memory: its numbers with their place on the ground."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from deo.maps.cache import reading
from deo.maps.class_map import labels
from deo.maps.components import fit_components, project
from deo.maps.job import Job
from deo.maps.rows import CellRows
from deo.maps.stream import extract_rows
from deo.scene.gdal import enough_memory
from deo.scene.thumbnail import SIDE, card, stretch
from deo.scene.xarray_grid import data_array

IN_MEMORY = Path("memory.tif")
"""The output of a job whose map is not written: it says what a GeoTIFF of that map would say."""


@dataclass(frozen=True, kw_only=True)
class MapArray:
    """A map of features, or of the probabilities of classes.

    Args:
        array: (channels, height, width) float32 in cells; NaN where there are no data.
        valid: (height, width) float32, the share of each cell's pixels that hold data, 0 to 1.
        transform: from (column, row) of a cell's corner to coordinates.
        crs: what the coordinates are, as rasterio has it; None where the scene does not say.
        names: of the channels.
        tags: how the map was made, as it would be written into a file; keys begin with `DEO_`.
    """

    array: NDArray[np.float32]
    valid: NDArray[np.float32]
    transform: Affine
    crs: Any
    names: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def height(self) -> int:
        """Rows of cells."""
        return len(self.valid)

    @property
    def width(self) -> int:
        """Columns of cells."""
        return int(self.valid.shape[1])

    def _repr_html_(self) -> str:
        """The first three principal components as a thumbnail, with what the tags say."""
        step = max(1, -(-max(self.height, self.width) // SIDE))
        cells = CellRows(np.ascontiguousarray(self.array[:, ::step, ::step]))
        values = project(cells, fit_components(cells))
        grow = max(1, SIDE // max(values.shape[:2]))
        image = stretch(values, np.isfinite(values[..., 0])).repeat(grow, 0).repeat(grow, 1)
        facts = {
            "Channels": str(len(self.array)),
            "Cells": f"{self.height} × {self.width}",
            "Reference system": "none" if self.crs is None else self.crs.to_string()[:60],
            "Model": self.tags.get("DEO_MODEL", "unknown"),
            "Layer": self.tags.get("DEO_LAYER", "unknown"),
        }
        title = self.tags.get("DEO_SOURCE", "map")
        return card(title, facts, image, "First three principal components.")

    def classes(self) -> NDArray[np.uint8]:
        """(height, width): number of the channel with the largest value; 255 where no data are."""
        return labels(self.array.transpose(1, 0, 2))

    def to_xarray(self) -> Any:
        """The map as a DataArray (feature, y, x) with coordinates, CRS and tags as attributes.

        Raises:
            MissingExtraError: xarray is not installed.
        """
        return data_array(
            self.array,
            self.names,
            dimension="feature",
            crs=self.crs,
            transform=self.transform,
            attributes=self.tags,
            name="features",
        )


def map_arrays(job: Job, *, progress: Callable[[int, int], None] | None = None) -> list[MapArray]:
    """Compute the maps of a job without writing anything, one for each of its outputs.

    Args:
        progress: told (tiles dealt with, tiles in all).

    Raises:
        SceneError: a window cannot be read, the map does not fit into memory, or the input changed
            while it was read.
        ModelError: from computing.
    """
    with enough_memory(f"cannot hold the map of {job.scene.name}"):
        values = [np.full(shape, np.nan, np.float32) for shape in job.shapes]
        valid = [np.zeros(shape[1:], np.float32) for shape in job.shapes]
    total, done = len(job.tiling), 0

    def count(tiles: int) -> None:
        nonlocal done
        done += tiles
        if progress is not None:
            progress(done, total)

    with reading(job.scenes, job.tiling.rows.tile) as scene:
        rows = extract_rows(
            scene, job.model, job.contract, job.tiling, batch_size=job.batch_size, progress=count
        )
        with contextlib.closing(rows):
            for band in rows:
                for block in band.blocks:
                    part = slice(block.row, block.row + len(block.values))
                    values[block.layer][:, part] = block.values.transpose(1, 0, 2)
                    valid[block.layer][part] = block.valid
    job.inputs.refuse_changes()
    return [
        MapArray(
            array=values[output.position],
            valid=valid[output.position],
            transform=output.info.transform,
            crs=output.info.crs,
            names=output.info.names,
            tags=output.info.tags,
        )
        for output in job.outputs
    ]
