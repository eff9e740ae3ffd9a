"""A tuned network over whole scenes, on the path of extraction: class map, probabilities."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from deo.bands import BandSet
from deo.errors import ConfigError, OutputError
from deo.files.publish import check_folder
from deo.maps.cache import gdal_settings
from deo.maps.job import Job, Output
from deo.maps.make import make_outputs, refuse_existing
from deo.maps.metadata import map_info
from deo.maps.pair import joined
from deo.maps.sinks import ClassMapSink, CogSink, Sink
from deo.scene.inputs import read_inputs
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.training.tasks.mapping import mapped
from deo.training.tasks.tuned import Tuned


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """How scenes are mapped.

    Args:
        tile, overlap: in pixels, see `mapped`.
        batch_size: tiles per call; None: as many as hold the pixels of 32 tiles of 384 on CUDA, of
            4 elsewhere.
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

    The network sees the scene in tiles of the size that it was tuned at, under the contract that it
    was tuned under, see `mapped`. Memory does not grow with the scene's height; finished rows wait
    in `<output>.partial`, where `resume` finds them.

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
    how = mapped(
        tuned,
        scenes[0],
        tile=chosen.tile,
        overlap=chosen.overlap,
        device=torch.device(chosen.device),
    )
    info = map_info(
        scenes[0],
        how.model,
        how.contract,
        how.tiling,
        position=0,
        layer=0,
        names=tuned.description.classes,
        source_id=inputs.digest,
    )
    sinks: tuple[Sink, ...] = (ClassMapSink(), CogSink("GeoTIFF of probabilities"))
    return Job(
        scenes=tuple(scenes),
        model=how.model,
        contract=how.contract,
        tiling=how.tiling,
        outputs=tuple(
            Output(path=path, position=0, info=info, sink=sink)
            for path, sink in zip(targets, sinks, strict=False)
        ),
        batch_size=chosen.batch_size or how.batch_size,
        inputs=inputs,
    )


def _check_targets(paths: list[Path]) -> None:
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputError(f"class map and probabilities are both to be written to {paths[0]}")
    for path in paths:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {path}: maps are GeoTIFFs, give a name with .tif")
        check_folder(path)
