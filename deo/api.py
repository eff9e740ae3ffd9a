"""Where models and rasters meet: `deo.extract`, `deo.extract_many` and `deo.open_scene`."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from deo.bands import MODEL_BANDS, BandSet
from deo.contracts import Contract, fit_contract, model_bands
from deo.errors import ConfigError, ModelError
from deo.maps.cache import gdal_settings
from deo.maps.engine import SceneResult, run_scenes, try_scene
from deo.maps.job import Job, Output
from deo.maps.make import make_outputs, refuse_existing
from deo.maps.metadata import map_info
from deo.maps.reduction import Features, Reduction, plan_reduction
from deo.maps.runner import PRECISIONS, FeatureModel, plan_tiles
from deo.maps.shard import Shard
from deo.maps.sinks import DEFAULT_CHIP, check_suffix, feature_sink
from deo.maps.worklist import Entry, Item, pair
from deo.models.devices import choose_device
from deo.models.initial import SeededDraws
from deo.models.registry import spec_of
from deo.models.weights import LoadedBackbone, load_backbone
from deo.scene.inputs import read_inputs
from deo.scene.scene import Scene, open_scene

__all__ = [
    "Extraction",
    "SceneResult",
    "extract",
    "extract_many",
    "feature_model",
    "open_scene",
]

DEFAULT_MODEL = "deo_swin_n"


class Loaded(NamedTuple):
    """A model for extraction, what users call its layers, and the contract it came with."""

    model: FeatureModel
    layers: tuple[int, ...]
    contract: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """How scenes become features; one for any number of scenes, the model is loaded once.

    Threads may share it. A pickled one holds the settings alone: who reads it loads the model anew.

    Args:
        model: a backbone's name, see `deo models`.
        weights: a file with weights; None: those that belong to the model.
        untrained: random weights (seed 0), for trials only.
        layer: among the model's layers, 0 the finest, negative from the coarsest; None: all of
            them, one file each.
        bands: as in `open_scene`; the model then takes those of them it knows.
        contract: `pretrain`, `scene`, `s2` or `stats`; None: what the weights ask for, else
            `scene`.
        mean, std: per band, with contract `stats`.
        tile, overlap: in pixels; None: the side near 384 at which no stage pads, and a quarter.
        batch_size: tiles per call; None: 32 on CUDA, else 4.
        precision: fp32, bf16 or fp16.
        device: as torch names it; None: `cuda` where there is one, else `cpu`.
        dtype: float32, float16 or int8 (one scale per channel).
        chip: side of GeoParquet's chips in pixels.
        components: write so many principal components in place of the features, fitted on each map
            and kept beside it as `NAME.components.json`; or the path of such a record, whose
            components are taken.
        scale, offset, resolution: as in `open_scene`.
        nodata, crs, transform: of an array, as in `open_scene`.
    """

    model: str = DEFAULT_MODEL
    weights: Path | None = None
    untrained: bool = False
    layer: int | None = -1
    bands: BandSet | None = None
    contract: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    tile: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    precision: str = "fp32"
    device: str | None = None
    dtype: str = "float32"
    chip: int = DEFAULT_CHIP
    components: int | Path | None = None
    scale: float | None = None
    offset: float | None = None
    resolution: float | None = None
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    _loaded: dict[BandSet, Loaded] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _loading: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        spec_of(self.model)
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"unknown precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch size {self.batch_size} is below 1; leave it out")

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def __setstate__(self, settings: Mapping[str, Any]) -> None:
        self.__init__(**settings)  # type: ignore[misc]  # what is not a setting starts empty

    def open(self, source: Any) -> Scene:
        """The scene as this extraction reads it."""
        return open_scene(
            source,
            bands=self.bands,
            scale=self.scale,
            offset=self.offset,
            resolution=self.resolution,
            nodata=self.nodata,
            crs=self.crs,
            transform=self.transform,
        )

    def load(self, scene: Scene) -> Loaded:
        """The model for the bands of a scene."""
        bands = model_bands(
            scene.name, scene.bands, chosen=self.bands is not None, unnamed=scene.unnamed
        )
        with self._loading:
            if bands not in self._loaded:
                self._loaded[bands] = feature_model(
                    self.model,
                    weights=self.weights,
                    untrained=self.untrained,
                    bands=bands,
                    layer=self.layer,
                    precision=self.precision,
                    device=self.device,
                )
            return self._loaded[bands]

    def job(self, scene: Scene, output: Path) -> Job:
        """Everything that a run on `scene` will do, checked but not begun."""
        inputs = read_inputs(scene)  # before anything is sampled: what changes later is noticed
        loaded = self.load(scene)
        model = loaded.model
        contract = self._fit(scene, loaded)
        tiling = plan_tiles(scene, model, tile=self.tile, overlap=self.overlap)
        reductions = [
            self._reduction(model, position, layer) for position, layer in enumerate(loaded.layers)
        ]
        infos = [
            map_info(
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
            for position, (layer, reduction) in enumerate(
                zip(loaded.layers, reductions, strict=True)
            )
        ]
        return Job(
            scenes=(scene,),
            model=model,
            contract=contract,
            tiling=tiling,
            outputs=tuple(
                Output(
                    path=path,
                    position=position,
                    info=info,
                    sink=feature_sink(path, chip=self.chip)
                    if reduction is None
                    else reduction.reduced(feature_sink(path, chip=self.chip)),
                )
                for position, (path, info, reduction) in enumerate(
                    zip(self.targets(output, loaded.layers), infos, reductions, strict=True)
                )
            ),
            batch_size=self.batch_size or model.batch_size,
            inputs=inputs,
        )

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
        """The contract asked for, else the one that the weights were tuned with, else `scene`."""
        name, mean, std = self.contract, self.mean, self.std
        stored, bands = loaded.contract, loaded.model.bands
        if name is None and stored is not None and stored.get("name") in ("s2", "stats"):
            tuned = Contract.from_record(stored)
            name = tuned.name
            if name == "stats" and mean is None and std is None:
                mean, std = _statistics(tuned, bands)
        return fit_contract(name or "scene", bands=bands, scene=scene, mean=mean, std=std)


def extract(
    source: Any,
    output: str | os.PathLike[str],
    *,
    preview: str | os.PathLike[str] | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    extraction: Extraction | None = None,
    **settings: Any,
) -> list[Path]:
    """Turn a scene into a georeferenced map of features.

    Args:
        source: what `open_scene` opens.
        output: the file to write; its suffix says what: `.tif` (COG), `.parquet` (chips), `.zarr`.
        preview: a PNG to draw: true colour beside the first three principal components.
        stac: also write a STAC item and an MLM description of the model beside the output.
        overwrite: replace what is there.
        resume: go on with what a killed run left; nothing is done when the output is complete.
        progress: told (tiles dealt with, tiles in all).
        extraction: settings made before; then `settings` stay empty.
        settings: fields of `Extraction`: model, weights, layer, tile, ...

    Returns:
        The files written: one, or one per layer.

    Raises:
        DeoError: one of its children says what was wrong and what to do.

    Example:
        >>> deo.extract("scene.tif", "features.tif", model="deo_swin_b")  # doctest: +SKIP
    """
    plan = _chosen(extraction, settings)
    target = Path(output)
    check_suffix(target)
    refuse_existing([target], overwrite=overwrite, resume=resume)  # before a model is loaded
    with gdal_settings(), plan.open(source) as scene:
        return make_outputs(
            plan.job(scene, target),
            preview=None if preview is None else Path(preview),
            stac=stac,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )


def extract_many(
    scenes: Iterable[Any],
    output: str | None,
    *,
    extraction: Extraction | None = None,
    preview: str | None = None,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    progress: Callable[[str, int, int], None] | None = None,
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
        progress: told (scene, tiles dealt with, tiles in all).
        busy: told once of each scene that is left to another process for the time being.

    Raises:
        ConfigError, OutputError: before anything is computed, where settings cannot work or two
            scenes have one output. A fault with one scene is in its result instead.

    Example:
        >>> for result in deo.extract_many(paths, "out/{name}.tif"):  # doctest: +SKIP
        ...     print(result.source, result.state)
    """
    plan = _chosen(extraction, settings)
    given = list(scenes)
    items = [each for each in given if isinstance(each, Item)]
    if entries := [_entry(each) for each in given if not isinstance(each, Item)]:
        items += pair(entries, output, preview, several=True)
    share = items if shard is None else shard.of(items)

    def work(item: Item) -> SceneResult:
        def run(count: Callable[[int, int], None]) -> list[Path]:
            def told(done: int, total: int) -> None:
                count(done, total)
                if progress is not None:
                    progress(item.source, done, total)

            return extract(
                item.source,
                item.output,
                preview=item.preview,
                stac=stac,
                overwrite=overwrite,
                resume=resume or not overwrite,
                progress=told,
                extraction=plan,
            )

        return try_scene(item.source, run)

    return run_scenes(share, work, busy=busy)


def _entry(scene: Any) -> Entry:
    parts = scene if isinstance(scene, tuple) else (scene,)
    if not 1 <= len(parts) <= len(Entry._fields):
        raise ConfigError(f"{scene!r} is not a scene, (scene, output) or (scene, output, preview)")
    try:
        return Entry(*("" if part is None else os.fspath(part) for part in parts))
    except TypeError as error:
        raise ConfigError(
            f"{parts[0]!r} is neither a path nor an address; give arrays to deo.extract one by one"
        ) from error


def _chosen(extraction: Extraction | None, settings: Mapping[str, Any]) -> Extraction:
    if extraction is not None and settings:
        raise ConfigError(f"pass extraction= or {', '.join(settings)}, not both")
    return extraction or Extraction(**settings)


def feature_model(
    name: str,
    *,
    weights: Path | None = None,
    untrained: bool = False,
    bands: BandSet = MODEL_BANDS,
    layer: int | None = -1,
    precision: str = "fp32",
    device: str | None = None,
) -> Loaded:
    """Load a backbone as extraction takes it: one layer, or all of them with `layer=None`.

    Raises:
        ModelError: there is no such backbone or layer.
        ConfigError: the device cannot be used.
        WeightsError: there are no weights, or they do not fit.
    """
    spec = spec_of(name)
    layers = _layers(name, len(spec.out_indices), layer)
    with SeededDraws(0):
        backbone = load_backbone(
            name,
            weights=weights,
            untrained=untrained,
            bands=bands,
            out_indices=tuple(spec.out_indices[index] for index in layers),
        )
    where = choose_device(device)
    network = backbone.model.to(where).eval()
    info: Any = network.feature_info
    model = FeatureModel(
        call=network,
        channels=tuple(info.channels()),
        reductions=tuple(info.reduction()),
        bands=backbone.bands,
        multiple=spec.patch_size * (8 * spec.window_size if spec.window_size else 1),
        device=where,
        precision=precision,
        identity={
            "model": backbone.weights.model,
            "weights": backbone.weights.source,
            "weights_sha256": backbone.weights.sha256 or _hash_parameters(backbone),
        },
    )
    return Loaded(model, layers, backbone.weights.contract)


def _layers(name: str, count: int, layer: int | None) -> tuple[int, ...]:
    if layer is None:
        return tuple(range(count))
    if not -count <= layer < count:
        raise ModelError(f"{name} has the layers 0 (finest) to {count - 1} (coarsest), got {layer}")
    return (layer % count,)


def _statistics(contract: Contract, bands: BandSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that a contract holds for `bands`."""
    missing = [band for band in bands if band not in contract.bands]
    if missing:
        raise ConfigError(
            f"the weights come with the statistics of {contract.bands}, which lack "
            f"{', '.join(missing)}; leave it out of --bands, or name another --contract"
        )
    positions = bands.positions_in(contract.bands.names)
    return (
        tuple(contract.mean[position] for position in positions),
        tuple(contract.std[position] for position in positions),
    )


def _hash_parameters(backbone: LoadedBackbone) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(backbone.model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
