"""A tuned network over whole scenes, on the path of extraction: class map, probabilities."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deo.bands import BandSet
from deo.contracts import Contract, fit_contract
from deo.errors import ConfigError, OutputError
from deo.files.publish import check_folder
from deo.maps.cache import gdal_settings
from deo.maps.job import Job, Output
from deo.maps.make import make_outputs, refuse_existing
from deo.maps.metadata import map_info
from deo.maps.pair import PairContract, joined
from deo.maps.runner import FeatureModel, plan_tiles
from deo.maps.sinks import ClassMapSink, CogSink, Sink
from deo.models.registry import SPECS
from deo.scene.inputs import read_inputs
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.training.tasks.heads import Classifier
from deo.training.tasks.tuned import Tuned

_CELL = 32  # the coarsest stride of the networks tuned here


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How scenes are mapped.

    Args:
        tile, overlap: in pixels; None: near 384, and a quarter of the tile.
        batch_size: tiles per call; None: 32 on CUDA, else 4.
        device: as torch names it.
        bands: order of the scene's bands, where its file does not say.
        scale, offset: as in `open_scene`.
    """

    tile: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    device: str = "cpu"
    bands: BandSet | None = None
    scale: float | None = None
    offset: float | None = None


def predict(
    tuned: Tuned,
    sources: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    probabilities: str | os.PathLike[str] | None = None,
    settings: Prediction | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Map one scene, or a pair of dates for a change network.

    A classifier of tiles is applied per cell of its last map, 32 pixels for a Swin: its linear
    layer scores each cell as it scores their mean. Memory does not grow with the scene's height;
    finished rows wait in `<output>.partial`, where `resume` finds them.

    Args:
        output: class map, a COG of bytes with a colour table; 255 is no data.
        probabilities: a COG with one float32 band per class; None: not written.
        resume: keep what is complete, and go on with what a killed run left.
        progress: told (tiles dealt with, tiles in all).

    Returns:
        The files written.

    Raises:
        OutputError: an output exists, is what is being read, or cannot be written.
        SceneError: a scene cannot be read, or two scenes do not match.
        ConfigError: the number of scenes does not fit the task.
    """
    chosen = settings or Prediction()
    targets = [Path(path) for path in (output, probabilities) if path is not None]
    _check_targets(targets)
    refuse_existing(targets, overwrite=overwrite, resume=resume)
    change = tuned.description.task == "change"
    if len(sources) != 1 + change:
        raise ConfigError(
            f"a network for {tuned.description.task} maps {1 + change} scene(s), got {len(sources)}"
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(gdal_settings())
        scenes = [
            stack.enter_context(
                open_scene(source, bands=chosen.bands, scale=chosen.scale, offset=chosen.offset)
            )
            for source in sources
        ]
        return make_outputs(
            _job(tuned, scenes, targets, chosen),
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )


def _job(tuned: Tuned, scenes: list[Scene], targets: list[Path], chosen: Prediction) -> Job:
    """The class map, and the probabilities where a second target says so, from the same rows."""
    inputs = read_inputs(*scenes)  # before anything is sampled: what changes later is noticed
    joined(scenes)  # refuses dates of different grids before the first is looked at
    contract = _contract(tuned, scenes)
    model = _feature_model(tuned, chosen)
    tiling = plan_tiles(scenes[0], model, tile=chosen.tile, overlap=chosen.overlap)
    info = map_info(
        scenes[0],
        model,
        contract,
        tiling,
        position=0,
        layer=0,
        names=tuned.description.classes,
        source_id=inputs.digest,
    )
    sinks: tuple[Sink, ...] = (ClassMapSink(), CogSink("GeoTIFF of probabilities"))
    return Job(
        scenes=tuple(scenes),
        model=model,
        contract=contract,
        tiling=tiling,
        outputs=tuple(
            Output(path=path, position=0, info=info, sink=sink)
            for path, sink in zip(targets, sinks, strict=False)
        ),
        batch_size=chosen.batch_size or model.batch_size,
        inputs=inputs,
    )


def _check_targets(paths: list[Path]) -> None:
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputError(f"class map and probabilities are both to be written to {paths[0]}")
    for path in paths:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {path}: maps are GeoTIFFs, give a name with .tif")
        check_folder(path)


def _contract(tuned: Tuned, scenes: list[Scene]) -> Contract:
    """`scene` stands for `pretrain`, so that tiles show no seams; others are used as tuned."""
    bands = tuned.contract.bands
    if isinstance(tuned.contract, Contract) and tuned.contract.name in ("fixed", "s2", "stats"):
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
