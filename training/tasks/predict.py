"""A tuned network over whole scenes, on the path of extraction: class map, probabilities."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from deo.errors import ConfigError, OutputError
from deo.files.publish import check_folder
from deo.maps.engine import SceneResult
from deo.maps.job import Job, Output
from deo.maps.many import ScenesProgress, items_of, make_many
from deo.maps.memory import IN_MEMORY, MapArray, map_arrays
from deo.maps.metadata import map_info
from deo.maps.pair import joined
from deo.maps.plan import Plan, make_map, refuse_unknown
from deo.maps.progress import Progress, shown
from deo.maps.shard import Shard
from deo.maps.sinks import ClassMapSink, CogSink, Sink
from deo.maps.worklist import Item
from deo.models.devices import choose_device
from deo.scene.inputs import read_inputs
from deo.scene.scene import Scene
from deo.training.tasks.mapping import mapped
from deo.training.tasks.tuned import Tuned, load_tuned

_MLM_TASKS = {
    "classify": "scene-classification",
    "multilabel": "scene-classification",
    "segment": "semantic-segmentation",
    "change": "semantic-segmentation",  # of two dates; the extension has no word of its own
}


@dataclass(frozen=True, kw_only=True)
class Prediction(Plan):
    """How scenes are mapped; one for any number of scenes, the network is loaded once.

    Args:
        tuned: the folder or the file that `deo finetune` wrote, or what `load_tuned` made of it.

    The other settings are those of `deo.maps.plan.Plan`; what stands for `tile` and `overlap`
    without them, `deo.training.tasks.mapping.mapped` says.
    """

    tuned: str | os.PathLike[str] | Tuned
    _loaded: list[Tuned] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def network(self) -> Tuned:
        """The network; read when it is first asked for."""
        if isinstance(self.tuned, Tuned):
            return self.tuned
        with self._loading:
            if not self._loaded:
                self._loaded.append(load_tuned(Path(self.tuned)))
            return self._loaded[0]

    @property
    def dates(self) -> int:
        """How many scenes one map is made of: two for changes, else one."""
        return 2 if self.network.description.task == "change" else 1

    def check(self, item: Item) -> list[Path]:
        targets = _targets(item)
        _check_targets(targets)
        given, dates = len(item.sources), self.dates
        if given != dates:
            raise ConfigError(
                "this network finds the changes between two dates, so that a map needs two scenes "
                "of one grid, FIRST and SECOND; got one"
                if dates == 2
                else f"this network ({self.network.description.task}) maps one scene at a time, "
                f"got {given} for one map"
            )
        return targets

    def job_of(self, scenes: Sequence[Scene], item: Item) -> Job:
        """The class map, and the probabilities where they are asked for, from the same rows."""
        inputs = read_inputs(*scenes)  # before anything is sampled: what changes later is noticed
        joined(scenes)  # refuses dates of different grids before the first is looked at
        tuned = self.network
        how = mapped(
            tuned,
            scenes[0],
            tile=self.tile,
            overlap=self.overlap,
            device=choose_device(self.device),
            precision=self.precision,
        )
        info = map_info(
            scenes[0],
            how.model,
            how.contract,
            how.tiling,
            position=0,
            layer=0,
            names=tuned.description.classes,
            task=_MLM_TASKS[tuned.description.task],
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
                for path, sink in zip(_targets(item), sinks, strict=False)
            ),
            batch_size=self.batch_size or how.batch_size,
            inputs=inputs,
        )


@overload
def predict(
    tuned: str | os.PathLike[str] | Tuned | Prediction,
    sources: Any,
    output: None = None,
    *,
    progress: Progress = None,
    **settings: Any,
) -> MapArray: ...


@overload
def predict(
    tuned: str | os.PathLike[str] | Tuned | Prediction,
    sources: Any,
    output: str | os.PathLike[str],
    *,
    probabilities: str | os.PathLike[str] | None = None,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = None,
    **settings: Any,
) -> list[Path]: ...


def predict(
    tuned: str | os.PathLike[str] | Tuned | Prediction,
    sources: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    probabilities: str | os.PathLike[str] | None = None,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = None,
    **settings: Any,
) -> list[Path] | MapArray:
    """Map one scene, or a pair of dates for a change network.

    The network sees the scene in tiles of the size that it was tuned at, under the contract that it
    was tuned under, see `mapped`. Memory does not grow with the scene's height; finished rows wait
    in `<output>.partial`, where `resume` finds them.

    Args:
        tuned: the folder or the file that `deo finetune` wrote, a loaded network, or a `Prediction`
            made before; then `settings` stay empty.
        sources: what `open_scene` opens, or a `Scene`; two of them in a list or tuple for a change
            network.
        output: class map, a COG of bytes with a colour table; 255 is no data. None: nothing is
            written, and the probabilities are returned.
        probabilities: a COG with one float32 band per class; None: not written.
        preview: a PNG to draw: true colour beside the classes.
        stac: also write a STAC item and an MLM description of the network beside the outputs.
        overwrite: replace what is there.
        resume: keep what is complete, and go on with what a killed run left.
        progress: True for a bar; or told (tiles dealt with, tiles in all).
        settings: fields of `Prediction`: tile, overlap, batch_size, bands, ...

    Returns:
        The files written, or without an output the probabilities of the classes, one channel for
        each: `classes()` is the class map.

    Raises:
        OutputError: an output exists, is what is being read, or cannot be written.
        SceneError: a scene cannot be read, or two scenes do not match.
        ConfigError: the number of scenes does not fit the task.
    """
    plan = _chosen(tuned, settings)
    given = tuple(sources) if isinstance(sources, list | tuple) else (sources,)
    if not 1 <= len(given) <= 2:
        raise ConfigError(f"a map is made of one scene or of two dates, got {len(given)}")
    first, second = (*given, None)[:2]
    if output is None:
        if probabilities is not None or preview is not None or stac:
            raise ConfigError("probabilities, preview and stac are written beside an output")
        item = Item(first, IN_MEMORY, second=second)
        plan.check(item)
        with plan.prepared(item) as job, shown(progress, job.scene.name) as tell:
            return map_arrays(job, progress=tell)[0]
    item = Item(first, Path(output), _path(preview), second, _path(probabilities))
    with shown(progress, Path(output).name) as tell:
        return make_map(plan, item, stac=stac, overwrite=overwrite, resume=resume, progress=tell)


def predict_many(
    tuned: str | os.PathLike[str] | Tuned | Prediction,
    scenes: Iterable[Any],
    output: str | os.PathLike[str] | None,
    *,
    probabilities: str | os.PathLike[str] | None = None,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    executor: Executor | None = None,
    progress: ScenesProgress = None,
    busy: Callable[[str], None] | None = None,
    **settings: Any,
) -> Iterator[SceneResult]:
    """Map many scenes with one network, and tell of each as it ends, as `deo.extract_many` does.

    Args:
        tuned, settings: as in `predict`.
        scenes: paths or addresses, and for a change network `(first, second)`; an output and a
            preview of its own may follow them. `Item`s are taken as they are.
        output, probabilities, preview: folders, or templates such as `maps/{name}.tif`, where
            `{name}` is the name of the scene or of the first date.
        stac, overwrite, resume, shard, executor, progress, busy: as in `deo.extract_many`.

    Raises:
        ConfigError, OutputError: before anything is computed, where settings cannot work or two
            scenes have one output. A fault with one scene is in its result instead.
    """
    plan = _chosen(tuned, settings)
    items = items_of(scenes, output, preview, probabilities=probabilities, dates=plan.dates)
    return make_many(
        plan,
        items,
        stac=stac,
        overwrite=overwrite,
        resume=resume,
        shard=shard,
        executor=executor,
        progress=progress,
        busy=busy,
    )


def _chosen(
    tuned: str | os.PathLike[str] | Tuned | Prediction, settings: Mapping[str, Any]
) -> Prediction:
    if isinstance(tuned, Prediction):
        if settings:
            raise ConfigError(f"pass a Prediction or {', '.join(settings)}, not both")
        return tuned
    refuse_unknown(Prediction, settings)
    return Prediction(tuned=tuned, **settings)


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _targets(item: Item) -> list[Path]:
    return [item.output, *([] if item.probabilities is None else [item.probabilities])]


def _check_targets(paths: list[Path]) -> None:
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputError(f"class map and probabilities are both to be written to {paths[0]}")
    for path in paths:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {path}: maps are GeoTIFFs, give a name with .tif")
        check_folder(path)
