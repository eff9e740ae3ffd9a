"""What is to be evaluated, and the model that the request names."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from deo.bands import BandSet
from deo.errors import ConfigError
from deo.training.tasks.backbones import BASELINES, RAW_BANDS, input_side, open_backbone
from deo.training.tasks.dataset import Split
from deo.training.tasks.features import BandFeatures, FeatureSource, NetworkFeatures
from deo.training.tasks.inputs import InputContract, choose_contract
from deo.training.tasks.splits import first_part
from deo.training.tasks.task import PROTOCOLS, Benchmark
from deo.training.tasks.tune import Epoch
from deo.training.tasks.tuneconfig import TuneConfig


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be measured.

    Args:
        protocol: a key of `PROTOCOLS`.
        benchmark: what is evaluated on.
        data: its folder.
        model: a backbone of ours, any timm model, `raw-bands` or `band-statistics`.
        weights, untrained: as in `open_backbone`; random weights differ by seed.
        seeds: one run each.
        share: part of the training labels that is used.
        bands: input channels; None: the model's bands among the data's.
        contract: None: see `choose_contract`.
        layers: positions of the maps that count; None: all.
        size: side that chips are resized to for kNN, probe and pixels; None: as they are.
        k, metric, temperature: of kNN.
        folds: of the probe on data without splits.
        test: names of test samples, for data without splits.
        valid: part of the training samples that is held out where there is no valid split.
        tuning: of segment and change.
        report: told about every epoch of every seed.
    """

    protocol: str
    benchmark: Benchmark
    data: Path
    model: str
    weights: Path | None = None
    untrained: bool = False
    seeds: tuple[int, ...] = (0,)
    share: float = 1.0
    bands: BandSet | None = None
    contract: str | None = None
    layers: tuple[int, ...] | None = (-1,)
    size: int | None = None
    k: int = 5
    metric: str = "l2"
    temperature: float | None = None
    folds: int = 5
    test: tuple[str, ...] = ()
    valid: float = 0.15
    tuning: TuneConfig = field(default_factory=TuneConfig)
    device: str = "cpu"
    report: Callable[[int, Epoch], None] | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(
                f"no protocol {self.protocol!r}; choose one of {', '.join(PROTOCOLS)}"
            )
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size is {self.size}; wanted 1 pixel or more")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}; wanted a number above 0")
        if not self.seeds:
            raise ConfigError("no seed given; give one or more")
        if self.model in BASELINES and (self.weights is not None or self.untrained):
            raise ConfigError(f"{self.model} is no network: neither --weights nor --untrained fits")


class Chosen(NamedTuple):
    """A backbone, its contract, and where its weights came from, JSON-able."""

    model: Any
    contract: InputContract
    identity: dict[str, Any]


def feature_source(
    request: Evaluation, bench: Benchmark, splits: Mapping[str, Split], seed: int
) -> FeatureSource:
    """The features that a request names, frozen."""
    bands = first_part(splits).bands
    if request.model in BASELINES:
        return BandFeatures(bands=bands, spread=request.model != RAW_BANDS)
    model, contract, identity = chosen_backbone(request, bench, splits, seed)
    layers = request.layers or tuple(range(len(model.feature_info.channels())))
    return NetworkFeatures(
        model=model,
        contract=contract,
        identity=identity,
        layers=layers,
        size=request.size or input_side(model),
        device=request.device,
    )


def chosen_backbone(
    request: Evaluation, bench: Benchmark, splits: Mapping[str, Split], seed: int
) -> Chosen:
    """The network that a request names, on the bands of the splits."""
    bands = first_part(splits).bands
    loaded = open_backbone(
        request.model,
        bands=bands,
        weights=request.weights,
        untrained=request.untrained,
        seed=seed,
    )
    contract = choose_contract(
        request.contract,
        bands=bands,
        unit=bench.unit,
        stored=loaded.weights.contract,
        train=first_part(splits),
    )
    identity = {
        "model": request.model,
        "weights": loaded.weights.source,
        "sha256": loaded.weights.sha256,
    }
    return Chosen(loaded.model, contract, identity)
