"""The ways of measuring a backbone: each is one row of `PROTOCOLS`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from deo.errors import ConfigError
from deo.training.tasks.backbones import BASELINES, RAW_BANDS, input_side
from deo.training.tasks.dataset import Split
from deo.training.tasks.features import BandFeatures, FeatureSource, NetworkFeatures
from deo.training.tasks.fit import fit
from deo.training.tasks.frozen import evaluate_knn, evaluate_pixels, evaluate_probe
from deo.training.tasks.outcome import BLOCK_UNIT, Outcome
from deo.training.tasks.request import Report, Request, chosen_backbone
from deo.training.tasks.splits import divide, first_part, require_test
from deo.training.tasks.task import Task
from deo.training.tasks.thresholds import evaluate_threshold

_NAMED = 20  # test samples listed in a result


@dataclass(frozen=True, kw_only=True)
class Evaluation(Request):
    """What is to be measured, and how.

    Args:
        protocol: a key of `PROTOCOLS`.
        seeds: one run each; random weights differ by seed.
        layers: positions of the maps that count; None: all.
        size: side that chips are resized to for kNN, probe and pixels; None: as they are.
        k, metric, temperature: of kNN.
        folds: of the probe on data without splits.
        report: is told about every epoch of every seed.
    """

    protocol: str
    seeds: tuple[int, ...] = (0,)
    layers: tuple[int, ...] | None = (-1,)
    size: int | None = None
    k: int = 5
    metric: str = "l2"
    temperature: float | None = None
    folds: int = 5
    report: Report | None = None

    def __post_init__(self) -> None:
        require_protocol(self.protocol)
        if self.size is not None and self.size < 1:
            raise ConfigError(f"size is {self.size}; wanted 1 pixel or more")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ConfigError(f"temperature is {self.temperature}; wanted a number above 0")
        if not self.seeds:
            raise ConfigError("no seed given; give one or more")
        if self.model in BASELINES and (self.weights is not None or self.untrained):
            raise ConfigError(f"{self.model} is no network: neither --weights nor --untrained fits")


def require_protocol(name: str) -> None:
    """Refuse a name that no protocol has.

    Raises:
        ConfigError: it lists the names.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")


def _knn(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    return evaluate_knn(
        _features(request, splits, seed),
        request.benchmark,
        splits,
        k=request.k,
        metric=request.metric,
        temperature=request.temperature,
    )


def _probe(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    if "all" not in splits:  # the part that chooses C is held out where the authors give none
        splits = divide(splits, valid=request.valid, seed=seed)
    source = _features(request, splits, seed)
    return evaluate_probe(source, request.benchmark, splits, seed=seed, folds=request.folds)


def _pixels(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    source = _features(request, splits, seed)
    return evaluate_pixels(source, request.benchmark, splits, seed=seed)


def _segment(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    _require_task(request, Task.SEGMENT)
    return _tuned(request, splits, seed)


def _change(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    _require_task(request, Task.CHANGE)
    return _tuned(request, splits, seed)


class Protocol(NamedTuple):
    """One way of measuring.

    `task`: what a folder of the user's own is read for under it.
    `measure`: a request, the splits and a seed -> what was measured.
    """

    task: Task
    measure: Callable[[Evaluation, Mapping[str, Split], int], Outcome]


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "knn": Protocol(Task.CLASSIFY, _knn),
        "probe": Protocol(Task.CLASSIFY, _probe),
        "pixels": Protocol(Task.SEGMENT, _pixels),
        "segment": Protocol(Task.SEGMENT, _segment),
        "change": Protocol(Task.CHANGE, _change),
    }
)


def _features(request: Evaluation, splits: Mapping[str, Split], seed: int) -> FeatureSource:
    """The frozen features that a request names."""
    if request.model in BASELINES:
        return BandFeatures(bands=first_part(splits).bands, spread=request.model != RAW_BANDS)
    model, contract, identity = chosen_backbone(request, splits, seed)
    return NetworkFeatures(
        model=model,
        contract=contract,
        identity=identity,
        layers=request.layers or tuple(range(len(model.feature_info.channels()))),
        size=request.size or input_side(model),
        device=request.device,
    )


def _require_task(request: Evaluation, task: Task) -> None:
    bench = request.benchmark
    if bench.task is not task:
        raise ConfigError(
            f"protocol {request.protocol} does not fit {bench.name}: {bench.task.value}"
        )


def _tuned(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    """Segmentation and change: a head, tuned alone or with the backbone."""
    require_test(splits)
    parts = divide(splits, test=request.test, valid=request.valid, seed=seed)
    names = list(parts["test"].names[:_NAMED])
    if request.model in BASELINES:
        outcome = evaluate_threshold(request, parts)
        return outcome._replace(settings={**outcome.settings, "test": names})
    tuning = replace(request.tuning, seed=seed)
    fitted = fit(replace(request, tuning=tuning), parts, report=request.report)
    assert fitted.matrices is not None  # there is a test part
    how = {**asdict(tuning), "epochs_run": fitted.epochs, "test": names}
    record = {**fitted.identity, "contract": fitted.contract.record()}
    return Outcome(fitted.matrices, BLOCK_UNIT, how, record)
