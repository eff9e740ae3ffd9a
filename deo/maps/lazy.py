"""A map as a Dask array, whose blocks are computed when and where they are asked for.

A block needs the pixels of the tiles that touch it, which Dask cuts out of the input, and a recipe
of some kilobytes: no weights. Where Dask runs in several processes, each loads the model once.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.contracts import InputContract
from deo.errors import ConfigError, require
from deo.maps.blocks import compute_block
from deo.maps.job import Job
from deo.maps.runner import FeatureModel
from deo.maps.windows import Axis, Tiling
from deo.scene.plane_source import PlaneSource
from deo.scene.scene import Scene
from deo.scene.window import Window

_TILES = 6  # of a block along each axis: each costs a rim of tiles that are computed twice
_COMPUTING = threading.Lock()
"""One block of a process is computed at a time: the model has threads of its own."""

Loader = Callable[[Scene], FeatureModel]
"""Gives the model for a scene; called in each process, so it can be pickled and remembers it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that tells how blocks of a map are computed, apart from their pixels.

    Args:
        scene: without pixels; its bands are the model's.
        batch_size: tiles per call of the model.
    """

    load: Loader
    scene: Scene
    contract: InputContract
    tiling: Tiling
    batch_size: int

    def compute(self, planes: Sequence[NDArray[Any]], pixels: Window, block: Window) -> Any:
        """(C, h, w): the map of a block, from the planes of a window around it."""
        scene = _with_planes(self.scene, tuple(planes), pixels)
        with _COMPUTING:
            (computed,) = compute_block(
                scene,
                self.load(scene),
                self.contract,
                self.tiling,
                block,
                batch_size=self.batch_size,
            )
        return computed.values


class _Span(NamedTuple):
    """Pixels from `start` to before `stop` along one axis."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def lazy_map(job: Job, load: Loader, *, batch_size: int | None = None) -> Any:
    """The map of a job of one layer over a scene whose planes are Dask's.

    Args:
        load: gives the model of the job in another process.
        batch_size: tiles per call; None: one, with which no tile beside a block's is computed.

    Returns:
        A Dask array (C, height, width) of float32, NaN where there are no data.

    Raises:
        ConfigError: the scene is resampled or masked, which needs more than a cut of its planes.
        MissingExtraError: Dask is not installed.
    """
    dask: Any = require("dask", extra="xarray")
    array: Any = require("dask.array", extra="xarray")
    _check(job.scene)
    scene, source = _without_planes(job.scene, job.model.bands)
    recipe = Recipe(
        load=load,
        scene=scene,
        contract=job.contract,
        tiling=job.tiling,
        batch_size=batch_size or 1,
    )
    token = _token(job, recipe)
    # one node of the graph that all blocks share
    shared = dask.delayed(recipe, name=f"deo-recipe-{token}", traverse=False)
    (shape,) = job.shapes
    stride = job.model.stride
    grid = []
    for rows in _spans(job.tiling.rows):
        line = []
        for cols in _spans(job.tiling.cols):
            block = Window(row=rows.start, col=cols.start, height=len(rows), width=len(cols))
            pixels = _needed(job.tiling, block, recipe.batch_size)
            parts = [plane[pixels.slices] for plane in source.planes]
            computed = dask.delayed(_compute)(
                shared,
                parts,
                pixels,
                block,
                dask_key_name=f"deo-block-{token}-{rows.start}-{cols.start}",
            )
            cells = (shape[0], -(-len(rows) // stride), -(-len(cols) // stride))
            line.append(array.from_delayed(computed, cells, np.float32))
        grid.append(line)
    return array.block(grid)


def _compute(recipe: Recipe, planes: Any, pixels: Window, block: Window) -> Any:
    return recipe.compute(planes, pixels, block)


def _check(scene: Scene) -> None:
    if scene.masks:
        raise ConfigError(
            "a mask cannot be laid over a lazy array; lay it over the data first: "
            "data.where(clear), or load them: data.compute()"
        )
    if not all(relation.same for relation in scene.relations):
        raise ConfigError(
            "a lazy array cannot be read at another resolution; resample it first, for instance "
            "with data.odc.reproject, or load it: data.compute()"
        )


def _without_planes(scene: Scene, bands: BandSet) -> tuple[Scene, PlaneSource]:
    """The scene with the bands of a model and no numbers, and their planes."""
    positions = bands.positions_in(scene.bands.names)
    assets = [scene.assets[position] for position in positions]
    source = assets[0].source
    assert isinstance(source, PlaneSource)
    used = replace(
        source,
        planes=tuple(source.planes[asset.index - 1] for asset in assets),
        dtypes=tuple(asset.dtype for asset in assets),
        nodatas=tuple(source.nodatas[asset.index - 1] for asset in assets),
    )
    empty = replace(used, planes=())
    bare = replace(
        scene,
        bands=bands,
        assets=tuple(
            replace(asset, source=empty, index=index) for index, asset in enumerate(assets, 1)
        ),
        relations=tuple(scene.relations[position] for position in positions),
    )
    return bare, used


def _with_planes(scene: Scene, planes: tuple[Any, ...], pixels: Window) -> Scene:
    source = scene.assets[0].source
    assert isinstance(source, PlaneSource)
    part = replace(source, planes=planes, row=pixels.row, col=pixels.col)
    return replace(scene, assets=tuple(replace(asset, source=part) for asset in scene.assets))


def _spans(axis: Axis) -> list[_Span]:
    """Blocks along one axis: each is what some tiles finish, so that it touches one tile more."""
    firsts = axis.starts[::_TILES]
    return [_Span(a, b) for a, b in zip(firsts, (*firsts[1:], axis.length), strict=True)]


def _needed(tiling: Tiling, block: Window, batch_size: int) -> Window:
    """The pixels of the tiles that are computed for a block."""
    rows = tiling.rows.touching(block.row, block.row + block.height)
    cols = tiling.cols.touching(block.col, block.col + block.width)
    first = cols.start // batch_size * batch_size
    last = min(-(-cols.stop // batch_size) * batch_size, len(tiling.cols.starts)) - 1
    top, left = tiling.rows.starts[rows.start], tiling.cols.starts[first]
    bottom = min(tiling.rows.starts[rows.stop - 1] + tiling.rows.tile, tiling.rows.length)
    right = min(tiling.cols.starts[last] + tiling.cols.tile, tiling.cols.length)
    return Window(row=top, col=left, height=bottom - top, width=right - left)


def _token(job: Job, recipe: Recipe) -> str:
    """The same for equal settings and input, so that Dask knows equal blocks as such."""
    (output,) = job.outputs
    text = json.dumps([dict(output.info.tags), job.inputs.digest, recipe.batch_size])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
