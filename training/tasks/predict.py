"""A tuned network over whole scenes, streamed as extraction does: class map, probabilities."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.bands import BandSet, Pixels
from deo.contracts import Contract, fit_contract
from deo.errors import ConfigError, OutputError, SceneError
from deo.files.disk import check_folder, check_space, publish, scratch_folder
from deo.maps.class_map import write_class_map
from deo.maps.job import cache_size, gdal_settings, refuse_mixture
from deo.maps.metadata import map_info
from deo.maps.runner import FeatureModel
from deo.maps.sinks import check_apart, write_output
from deo.maps.spool import Shape, Spool
from deo.maps.stream import RowBand, extract_rows
from deo.maps.windows import Tiling, default_tile, tiles
from deo.models.registry import SPECS
from deo.scene.inputs import read_inputs
from deo.scene.lanes import side_by_side
from deo.scene.scene import Scene, open_scene
from deo.scene.window import Window
from deo.training.tasks.heads import Classifier
from deo.training.tasks.tuned import Tuned

_CELL = 32  # the coarsest stride of the networks tuned here


@dataclass(frozen=True, kw_only=True)
class PairContract(Contract):
    """Two dates in one stack of channels, each through a contract of its own.

    The fields are the first date's.
    """

    second: Contract

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        half = len(pixels.values) // 2
        first = super().apply(pixels._replace(values=pixels.values[:half]))
        return np.concatenate(
            (first, self.second.apply(pixels._replace(values=pixels.values[half:])))
        )

    def record(self) -> dict[str, Any]:
        return {**super().record(), "second": self.second.record()}


@dataclass(frozen=True, kw_only=True)
class ScenePair:
    """Two scenes of one grid; valid where both are."""

    first: Scene
    second: Scene

    def __post_init__(self) -> None:
        one, other = self.first, self.second
        same = one.crs == other.crs and one.transform.almost_equals(other.transform, 1e-6)
        if not same or (one.height, one.width) != (other.height, other.width):
            raise SceneError(
                f"mismatched pair: {one.name} is {one.height} x {one.width} in {one.crs}, "
                f"{other.name} {other.height} x {other.width} in {other.crs}, or their origins "
                "differ; warp one onto the grid of the other first (gdalwarp -te -tr -t_srs)"
            )

    @property
    def height(self) -> int:
        return self.first.height

    @property
    def width(self) -> int:
        return self.first.width

    def read(self, window: Window, bands: BandSet) -> Pixels:
        one, other = self.first.read(window, bands), self.second.read(window, bands)
        return Pixels(np.concatenate((one.values, other.values)), one.valid & other.valid)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How scenes are mapped.

    Args:
        tile, overlap: in pixels; None: near 384, and a quarter of the tile.
        batch_size: tiles per call.
        device: as torch names it.
        bands: order of the scene's bands, where its file does not say.
        scale, offset: as in `open_scene`.
    """

    tile: int | None = None
    overlap: int | None = None
    batch_size: int = 4
    device: str = "cpu"
    bands: BandSet | None = None
    scale: float | None = None
    offset: float | None = None


def predict(
    tuned: Tuned,
    sources: list[Path],
    target: Path,
    *,
    probabilities: Path | None = None,
    settings: Prediction | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Map one scene, or a pair of dates for a change network.

    A classifier of tiles is applied per cell of its last map, 32 pixels for a Swin: its linear
    layer scores each cell as it scores their mean. Memory does not grow with the scene's height;
    finished rows wait in `<target>.partial`, where `resume` finds them.

    Args:
        target: class map, a COG of bytes with a colour table; 255 is no data.
        probabilities: a COG with one float32 band per class; None: not written.
        progress: told (tiles dealt with, tiles in all).

    Returns:
        The files written.

    Raises:
        OutputError: the target exists, is what is being read, or cannot be written.
        SceneError: a scene cannot be read, or two scenes do not match.
        ConfigError: the number of scenes does not fit the task.
    """
    chosen = settings or Prediction()
    targets = [path for path in (target, probabilities) if path is not None]
    _check_targets(targets, overwrite)
    change = tuned.description.task == "change"
    if len(sources) != 1 + change:
        raise ConfigError(
            f"a network for {tuned.description.task} maps {1 + change} scene(s), got {len(sources)}"
        )
    with contextlib.ExitStack() as stack:
        scenes = [
            stack.enter_context(
                open_scene(source, bands=chosen.bands, scale=chosen.scale, offset=chosen.offset)
            )
            for source in sources
        ]
        inputs = read_inputs(*scenes)
        folder = target.with_name(f"{target.name}.partial")
        check_apart([*targets, folder], [*sources, *inputs.paths])
        contract = _contract(tuned, scenes)
        model = _feature_model(tuned, chosen)
        tiling = _tiling(scenes[0], model, chosen)
        info = map_info(
            scenes[0], model, contract, tiling, position=0, layer=0, names=tuned.description.classes
        )
        shape = _shape(model, scenes[0])
        check_space(target, shape.bytes)
        identity = {**info.tags, "source": inputs.record()}
        tile = tiling.rows.tile
        stack.enter_context(gdal_settings(sum(cache_size(scene, tile) for scene in scenes)))
        scenes = [stack.enter_context(side_by_side(scene)) for scene in scenes]
        readable = ScenePair(first=scenes[0], second=scenes[1]) if change else scenes[0]
        with Spool(folder, job=identity, shapes=(shape,), resume=resume) as spool:
            _fill(spool, readable, model, contract, tiling, chosen, progress)
            refuse_mixture(inputs, spool)
            rows = spool.layer(0)
            if probabilities is not None:
                write_output(
                    rows,
                    info,
                    probabilities,
                    folder=folder,
                    height=scenes[0].height,
                    width=scenes[0].width,
                )
            with scratch_folder(folder) as scratch:
                finished = scratch / target.name
                write_class_map(rows, info, finished, scratch / f".{target.name}")
                publish(finished, target)
            spool.remove()
    return [target] if probabilities is None else [target, probabilities]


def _fill(
    spool: Spool,
    scene: Scene | ScenePair,
    model: FeatureModel,
    contract: Contract,
    tiling: Tiling,
    chosen: Prediction,
    progress: Callable[[int, int], None] | None,
) -> None:
    total, done = len(tiling), 0

    def count(tiles: int) -> None:
        nonlocal done
        done += tiles
        if progress is not None:
            progress(done, total)

    rows = extract_rows(
        scene,
        model,
        contract,
        tiling,
        batch_size=chosen.batch_size,
        finished=spool.finished,
        progress=count,
    )
    with contextlib.closing(rows):
        band: RowBand
        for band in rows:
            spool.append(band)


def _check_targets(paths: list[Path], overwrite: bool) -> None:
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputError(f"class map and probabilities are both to be written to {paths[0]}")
    for path in paths:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {path}: maps are GeoTIFFs, give a name with .tif")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; use --overwrite to replace it")
        check_folder(path)


def _contract(tuned: Tuned, scenes: list[Scene]) -> Contract:
    """`scene` stands for `pretrain`, so that tiles show no seams; others are used as tuned."""
    bands = tuned.contract.bands
    if isinstance(tuned.contract, Contract) and tuned.contract.name in ("s2", "stats"):
        fitted = [tuned.contract] * len(scenes)
    else:
        fitted = [fit_contract("scene", bands=bands, scene=scene) for scene in scenes]
    if len(fitted) == 1:
        return fitted[0]
    one = fitted[0]
    return PairContract(
        name=one.name,
        bands=one.bands,
        mean=one.mean,
        std=one.std,
        rgb_maximum=one.rgb_maximum,
        second=fitted[1],
    )


def _feature_model(tuned: Tuned, chosen: Prediction) -> FeatureModel:
    """The network's class probabilities as the one layer of a model."""
    description = tuned.description
    network: Any = tuned.network.to(chosen.device)
    info: Any = network.backbone.feature_info
    coarse = int(info.reduction()[-1])
    several = description.task == "multilabel"

    def call(images: Tensor) -> list[Tensor]:
        scores = network.dense(images)
        return [scores.sigmoid() if several else scores.softmax(1)]

    spec = SPECS.get(description.backbone.split(".")[0])
    window = spec.window_size if spec is not None else None
    return FeatureModel(
        call=call,
        channels=(len(description.classes),),
        reductions=(coarse if isinstance(network, Classifier) else 1,),
        bands=BandSet(description.bands),
        multiple=max(coarse, _CELL) * (window or 1),
        device=torch.device(chosen.device),
        identity={
            "model": description.backbone,
            "weights": f"tuned for {description.task} on {description.dataset}",
            "weights_sha256": tuned.sha256,
        },
    )


def _tiling(scene: Scene, model: FeatureModel, chosen: Prediction) -> Tiling:
    tile = chosen.tile or default_tile(model.multiple)
    overlap = chosen.overlap
    if overlap is None:
        overlap = max(0, tile // 4 // model.stride * model.stride)
    return tiles(
        height=scene.height,
        width=scene.width,
        tile=tile,
        overlap=overlap,
        multiple=model.stride,
    )


def _shape(model: FeatureModel, scene: Scene) -> Shape:
    stride = model.stride
    return Shape(model.channels[0], -(-scene.height // stride), -(-scene.width // stride))
