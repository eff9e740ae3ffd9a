"""Where models and rasters meet: `deo.extract`, `deo.extract_many` and `deo.open_scene`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from deo.bands import RGB_BANDS, BandSet, Pixels
from deo.contracts import CONSTANT, DEFAULT_CONTRACT, Contract, fit_contract, model_bands
from deo.errors import ConfigError
from deo.layers import Loaded, feature_model, parse_layer
from deo.maps.cache import gdal_settings
from deo.maps.engine import SceneResult
from deo.maps.fitted import Several, parse_contract
from deo.maps.job import Job, Output
from deo.maps.many import ScenesProgress, items_of, make_many
from deo.maps.memory import IN_MEMORY, MapArray, map_arrays
from deo.maps.metadata import map_info
from deo.maps.plan import Plan, make_map, refuse_unknown
from deo.maps.progress import Progress, shown
from deo.maps.reduction import Features, Reduction, plan_reduction
from deo.maps.runner import FeatureModel, plan_tiles
from deo.maps.shard import Shard
from deo.maps.sinks import DEFAULT_CHIP, check_suffix, feature_sink
from deo.maps.worklist import Item
from deo.models.registry import spec_of
from deo.models.weight_files import model_named_in
from deo.scene.inputs import read_inputs
from deo.scene.opening import open_scene
from deo.scene.scene import Scene

__all__ = [
    "Extraction",
    "SceneResult",
    "extract",
    "extract_many",
    "feature_model",
    "open_scene",
]

DEFAULT_MODEL = "deo_swin_n"


@dataclass(frozen=True, kw_only=True)
class Extraction(Plan):
    """How scenes become features; one for any number of scenes, the model is loaded once.

    Threads may share it. A pickled one holds the settings alone: who reads it loads the model anew.

    Args:
        model: a backbone's name, see `deo models`; None: the one that the file of `weights`
            names, else `deo_swin_n`.
        weights: a file with weights; None: those that belong to the model.
        untrained: random weights (seed 0), for trials only.
        layer: among the model's layers, 0 the finest, negative from the coarsest, or `last`; `all`
            or None: all of them, one file each.
        bands: as in `open_scene`; the model then takes those of them it knows.
        contract: `fixed`, `pretrain`, `scene`, `s2` or `stats`; a `Contract`, or a file that holds
            one: JSON, or features whose contract is taken. None: the statistics that the weights
            were tuned with, else `DEFAULT_CONTRACT`.
        mean, std: per band, with contract `stats`.
        tile, overlap: in pixels; None: the side near 384 at which no stage pads, and a quarter.
        dtype: float32, float16 or int8 (one scale per channel).
        chip: side of GeoParquet's chips in pixels.
        components: write so many principal components in place of the features, fitted on each map
            and kept beside it as `NAME.components.json`; or the path of such a record, whose
            components are taken.

    The other settings are those of `deo.maps.plan.Plan`: `batch_size`, `precision`, `device`, and
    `scale`, `offset`, `resolution`, `nodata`, `crs` and `transform` as in `open_scene`.
    """

    model: str | None = None
    weights: Path | None = None
    untrained: bool = False
    layer: int | str | None = -1
    contract: str | os.PathLike[str] | Contract | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    dtype: str = "float32"
    chip: int = DEFAULT_CHIP
    components: int | Path | None = None
    _loaded: dict[BandSet, Loaded] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named = None if self.weights is None else model_named_in(Path(self.weights))
        object.__setattr__(self, "model", self.model or named or DEFAULT_MODEL)
        spec_of(self._name)
        # two spellings of a layer are one setting
        object.__setattr__(self, "layer", parse_layer(self.layer))
        object.__setattr__(self, "contract", parse_contract(self.contract))

    @property
    def _name(self) -> str:
        """The model's name, which is settled once this is made."""
        assert self.model is not None
        return self.model

    def load(self, scene: Scene) -> Loaded:
        """The model for the bands of a scene."""
        bands = model_bands(
            scene.name, scene.bands, chosen=self.bands is not None, unnamed=scene.unnamed
        )
        with self._loading:
            if bands not in self._loaded:
                self._loaded[bands] = feature_model(
                    self._name,
                    weights=self.weights,
                    untrained=self.untrained,
                    bands=bands,
                    layer=parse_layer(self.layer),
                    precision=self.precision,
                    device=self.device,
                )
            return self._loaded[bands]

    def check(self, item: Item) -> list[Path]:
        if item.second is not None:
            raise ConfigError("features are extracted from one scene at a time, got two dates")
        check_suffix(item.output)
        return [item.output]

    def job_of(self, scenes: Sequence[Scene], item: Item) -> Job:
        return self.job(scenes[0], item.output)

    def job(self, scene: Scene, output: Path) -> Job:
        """Everything that a run on `scene` will do, checked but not begun."""
        inputs = read_inputs(scene)  # before anything is sampled: what changes later is noticed
        loaded = self.load(scene)
        model = loaded.model
        contract = self._fit(scene, loaded)
        tiling = plan_tiles(scene, model, tile=self.tile, overlap=self.overlap)
        outputs = []
        for position, (path, layer) in enumerate(
            zip(self.targets(output, loaded.layers), loaded.layers, strict=True)
        ):
            reduction = self._reduction(model, position, layer)
            sink = feature_sink(path, chip=self.chip)
            info = map_info(
                scene,
                model,
                contract,
                tiling,
                position=position,
                layer=layer,
                dtype=self.dtype,
                chip=self.chip if check_suffix(output) == ".parquet" else None,
                components=None if reduction is None else reduction.tag,
                names=None if reduction is None else reduction.names,
                source_id=inputs.digest,
            )
            if reduction is not None:
                sink = reduction.reduced(sink)
            outputs.append(Output(path=path, position=position, info=info, sink=sink))
        return Job(
            scenes=(scene,),
            model=model,
            contract=contract,
            tiling=tiling,
            outputs=tuple(outputs),
            batch_size=self.batch_size or model.batch_size,
            inputs=inputs,
        )

    def fitted_over(self, sources: Iterable[Any]) -> "Extraction":
        """The same settings under one contract `scene` that is fitted over several scenes.

        Features of all of them can then be compared with each other.

        Args:
            sources: what `open_scene` opens; each is looked at, and closed again.

        Raises:
            ConfigError: another contract is asked for, or the scenes have different bands.
        """
        if self.contract not in (None, "scene"):
            raise ConfigError(
                f"a contract over several scenes is one of the kind 'scene', got {self.contract}"
            )
        samples: list[Pixels] = []
        bands: BandSet | None = None
        for source in sources:
            with gdal_settings(), self.open(source) as scene:
                chosen = model_bands(
                    scene.name, scene.bands, chosen=self.bands is not None, unnamed=scene.unnamed
                )
                if bands not in (None, chosen):
                    raise ConfigError(
                        f"{scene.name} gives a model {chosen}, the scenes before it {bands}; name "
                        "bands that all of them have: --bands"
                    )
                bands = chosen
                visible = [band for band in bands if band in RGB_BANDS]
                if visible:
                    samples.append(scene.sample(BandSet(visible)))
        if bands is None:
            raise ConfigError("there is no scene to fit a contract over")
        contract = fit_contract("scene", bands=bands, scene=Several(samples))
        return replace(self, contract=contract)

    def targets(self, output: Path, layers: Sequence[int]) -> list[Path]:
        """The files that are written: `output`, or one beside it per layer."""
        if self.layer is not None:
            return [output]
        return [output.with_stem(f"{output.stem}_layer{layer}") for layer in layers]

    def _reduction(self, model: FeatureModel, position: int, layer: int) -> Reduction | None:
        """What takes the features of a layer to components, where that was asked for."""
        if self.components is None:
            return None
        features = Features(
            model=model.identity["model"],
            weights_sha256=model.identity["weights_sha256"],
            layer=layer,
            channels=model.channels[position],
        )
        return plan_reduction(self.components, features)

    def _fit(self, scene: Scene, loaded: Loaded) -> Contract:
        """The contract asked for, else the one the weights were tuned with, else the default."""
        said, stored, bands = self.contract, loaded.contract, loaded.model.bands
        given = self.mean is not None or self.std is not None
        if said is None and not given and stored is not None and stored.get("name") in CONSTANT:
            said = Contract.from_record(stored)
        if isinstance(said, Contract):
            if given:
                raise ConfigError("mean and std go with contract 'stats', not with one of a file")
            return said.select(bands)
        return fit_contract(
            str(said or DEFAULT_CONTRACT), bands=bands, scene=scene, mean=self.mean, std=self.std
        )


@overload
def extract(
    source: Any,
    output: None = None,
    *,
    progress: Progress = None,
    extraction: Extraction | None = None,
    **settings: Any,
) -> MapArray | list[MapArray]: ...


@overload
def extract(
    source: Any,
    output: str | os.PathLike[str],
    *,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = None,
    extraction: Extraction | None = None,
    **settings: Any,
) -> list[Path]: ...


def extract(
    source: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = None,
    extraction: Extraction | None = None,
    **settings: Any,
) -> list[Path] | MapArray | list[MapArray]:
    """Turn a scene into a georeferenced map of features.

    Args:
        source: what `open_scene` opens, or a `Scene`.
        output: the file to write; its suffix says what: `.tif` (COG), `.parquet` (chips), `.zarr`.
            None: nothing is written, and the features are returned.
        preview: a PNG to draw: true colour beside the first three principal components.
        stac: also write a STAC item and an MLM description of the model beside the output.
        overwrite: replace what is there.
        resume: go on with what a killed run left; nothing is done when the output is complete.
        progress: True for a bar; or told (tiles dealt with, tiles in all).
        extraction: settings made before; then `settings` stay empty.
        settings: fields of `Extraction`: model, weights, layer, tile, ...

    Returns:
        The files written: one, or one per layer. Without an output the features in memory with
        their place; with `layer="all"` a list of them, the finest first.

    Raises:
        DeoError: one of its children says what was wrong and what to do.

    Example:
        >>> deo.extract("scene.tif", "features.tif", model="deo_swin_b")  # doctest: +SKIP
        >>> features = deo.extract("scene.tif")  # doctest: +SKIP
        >>> features.array.shape, features.transform, features.crs  # doctest: +SKIP
    """
    plan = chosen(extraction, settings)
    if output is not None:
        item = Item(source, Path(output), None if preview is None else Path(preview))
        with shown(progress, Path(output).name) as tell:
            return make_map(
                plan, item, stac=stac, overwrite=overwrite, resume=resume, progress=tell
            )
    if preview is not None or stac or plan.components is not None:
        raise ConfigError(
            "a preview, STAC and components are written beside an output or into it; name one"
        )
    with (
        plan.prepared(Item(source, IN_MEMORY)) as job,
        shown(progress, job.scene.name) as tell,
    ):
        maps = map_arrays(job, progress=tell)
    return maps if plan.layer is None else maps[0]


def extract_many(
    scenes: Iterable[Any],
    output: str | os.PathLike[str] | None,
    *,
    extraction: Extraction | None = None,
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
    """Turn many scenes into maps of features, and tell of each as it ends.

    A scene whose outputs are complete is skipped, and one that a killed run began is gone on with.
    A scene that fails costs no other. What another process is computing is left to it, and taken
    up if that process gives it up, so that any number of processes may work on the same scenes.

    Args:
        scenes: paths or addresses, or (scene, output) or (scene, output, preview) for those with
            outputs of their own; `Item`s are taken as they are.
        output: a folder, or a template such as `out/{name}.tif`, where `{name}` is the scene's
            name; None if every scene has an output of its own.
        extraction, stac, settings: as in `extract`.
        preview: a folder or a template for pictures.
        overwrite: compute all of them anew.
        resume: with `overwrite`, go on with what a killed run left.
        shard: the part of the scenes that is this process's; None: all of them.
        executor: any `concurrent.futures.Executor`, such as a process pool or
            `dask.distributed.Client.get_executor()`, which works on several scenes at once and is
            neither started nor shut down here. Settings and paths travel, never weights; each
            worker loads the model once. None: one scene after the other, in this thread.
        progress: True for a bar for each; or told (scene, tiles dealt with, tiles in all).
        busy: told once of each scene that is left to another process for the time being.

    Raises:
        ConfigError, OutputError: before anything is computed, where settings cannot work or two
            scenes have one output. A fault with one scene is in its result instead.

    Example:
        >>> for result in deo.extract_many(paths, "out/{name}.tif"):  # doctest: +SKIP
        ...     print(result.source, result.state)
    """
    return make_many(
        chosen(extraction, settings),
        items_of(scenes, output, preview),
        stac=stac,
        overwrite=overwrite,
        resume=resume,
        shard=shard,
        executor=executor,
        progress=progress,
        busy=busy,
    )


def chosen(extraction: Extraction | None, settings: Mapping[str, Any]) -> Extraction:
    if extraction is not None and settings:
        raise ConfigError(f"pass extraction= or {', '.join(settings)}, not both")
    if extraction is not None:
        return extraction
    refuse_unknown(Extraction, settings)
    return Extraction(**settings)
