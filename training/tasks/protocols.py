"""The ways of measuring a backbone: each is one row of `PROTOCOLS`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from deo.errors import ConfigError, did_you_mean
from deo.training.tasks.backbones import BASELINES, RAW_BANDS, input_side
from deo.training.tasks.baselines import THRESHOLD, fit_baselines
from deo.training.tasks.dataset import Split
from deo.training.tasks.features import BandFeatures, FeatureSource, NetworkFeatures
from deo.training.tasks.fit import fit
from deo.training.tasks.frozen import evaluate_knn, evaluate_pixels, evaluate_probe
from deo.training.tasks.outcome import BLOCK_UNIT, Outcome
from deo.training.tasks.progress import Report
from deo.training.tasks.request import Request, chosen_backbone
from deo.training.tasks.rivals import check_rivals, fit_rivals
from deo.training.tasks.splits import SHARE, divide, first_part, require_test
from deo.training.tasks.task import Task

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
        raise ConfigError(f"no protocol {name!r}; {did_you_mean(name, PROTOCOLS)}")


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
        share = SHARE if request.valid is None else request.valid
        splits = divide(splits, valid=share, seed=seed)
    source = _features(request, splits, seed)
    return evaluate_probe(source, request.benchmark, splits, seed=seed, folds=request.folds)


def _pixels(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    source = _features(request, splits, seed)
    return evaluate_pixels(source, request.benchmark, splits, seed=seed)


def _classify(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    _require_task(request, Task.CLASSIFY, Task.MULTILABEL)
    return _tuned(request, splits, seed)


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
        "classify": Protocol(Task.CLASSIFY, _classify),
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


def _require_task(request: Evaluation, *tasks: Task) -> None:
    bench = request.benchmark
    if bench.task not in tasks:
        raise ConfigError(
            f"protocol {request.protocol} does not fit {bench.name}: {bench.task.value}"
        )


def _tuned(request: Evaluation, splits: Mapping[str, Split], seed: int) -> Outcome:
    """A head, tuned alone or with the backbone; or a baseline in the place of a network."""
    require_test(splits)
    parts = request.divide(splits, seed=seed)
    names = list(parts["test"].names[:_NAMED])
    unit = BLOCK_UNIT if request.benchmark.task in (Task.SEGMENT, Task.CHANGE) else "tile"
    if request.model in BASELINES:
        return _threshold(request, parts, seed, names)
    check_rivals(request)
    request = replace(request, tuning=replace(request.tuning, seed=seed))
    rivals = fit_rivals(request, parts, report=request.report)
    fitted = fit(request, parts, report=request.report)
    assert fitted.units is not None  # there is a test part
    how = {**asdict(fitted.config), "epochs_run": fitted.epochs, "test": names}
    record = {**fitted.identity, "contract": fitted.contract.record()}
    return Outcome(fitted.units, unit, how, record, rivals)


def _threshold(
    request: Evaluation, parts: Mapping[str, Split], seed: int, names: list[str]
) -> Outcome:
    """`raw-bands` for change: a threshold on the bands' standardised differences."""
    bench = request.benchmark
    if bench.task is not Task.CHANGE or request.model != RAW_BANDS:
        raise ConfigError(
            f"{request.model} cannot be tuned; {RAW_BANDS} works for change, and for kNN, probe, "
            "pixels both baselines do"
        )
    (units,) = fit_baselines(
        bench, parts["train"], parts["test"], seed=seed, names=(THRESHOLD,)
    ).values()
    return Outcome(units, BLOCK_UNIT, {"test": names}, {"model": THRESHOLD})
