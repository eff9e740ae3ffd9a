"""One evaluation from request to result: open, arrange the splits, run every seed, score."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np

from deo.errors import ConfigError
from deo.training.tasks.backbones import BASELINES, RAW_BANDS
from deo.training.tasks.dataset import Split
from deo.training.tasks.frozen import evaluate_knn, evaluate_pixels, evaluate_probe
from deo.training.tasks.heads import build_network
from deo.training.tasks.inference import confusions
from deo.training.tasks.inputs import choose_bands, choose_contract
from deo.training.tasks.outcome import BLOCK_UNIT, Outcome, block_confusions
from deo.training.tasks.patches import Examples
from deo.training.tasks.request import Evaluation, chosen_backbone, feature_source
from deo.training.tasks.results import Result, summarise
from deo.training.tasks.splits import divide, fraction, require_test
from deo.training.tasks.survey import survey
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.thresholds import best_threshold, difference
from deo.training.tasks.tune import tune

_NAMED = 20  # test samples listed in a result


def run(request: Evaluation) -> Result:
    """Measure.

    Raises:
        DeoError: its child says what is missing or does not fit.
    """
    start = time.monotonic()
    bench = request.benchmark
    bands = request.bands or choose_bands(bench.layout)
    splits = bench.open(request.data, bands=bands)
    outcomes: dict[int, Outcome] = {}
    record: Mapping[str, Any] = {}
    for seed in request.seeds:
        parts = _with_share(splits, request.share, seed)
        outcomes[seed], record = _RUN[request.protocol](request, bench, parts, seed)
    return summarise(
        bench,
        request.protocol,
        outcomes,
        model={**record, "bands": list(bands)},
        samples={name: len(part) for name, part in splits.items()},
        fraction=request.share,
        seconds=time.monotonic() - start,
    )


def _with_share(splits: dict[str, Split], share: float, seed: int) -> dict[str, Split]:
    if share == 1:
        return splits
    if "train" not in splits:
        raise ConfigError("a fraction of the labels needs a train split; these data have none")
    return {**splits, "train": fraction(splits["train"], share, seed=seed)}


class Measured(NamedTuple):
    """What a protocol found with one seed, and the record of the model."""

    outcome: Outcome
    model: Mapping[str, Any]


def _knn(request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int) -> Measured:
    source = feature_source(request, bench, splits, seed)
    outcome = evaluate_knn(
        source,
        bench,
        splits,
        k=request.k,
        metric=request.metric,
        temperature=request.temperature,
    )
    return Measured(outcome, source.record)


def _probe(request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int) -> Measured:
    if "all" not in splits:  # the part that chooses C is held out where the authors give none
        splits = divide(splits, valid=request.valid, seed=seed)
    source = feature_source(request, bench, splits, seed)
    outcome = evaluate_probe(source, bench, splits, seed=seed, folds=request.folds)
    return Measured(outcome, source.record)


def _pixels(request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int) -> Measured:
    source = feature_source(request, bench, splits, seed)
    return Measured(evaluate_pixels(source, bench, splits, seed=seed), source.record)


def _tuned(request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int) -> Measured:
    """Segmentation and change: a head, tuned alone or with the backbone."""
    require_test(splits)
    parts = divide(splits, test=request.test, valid=request.valid, seed=seed)
    if request.model in BASELINES:
        return _threshold(request, bench, parts)
    backbone, contract, identity = chosen_backbone(request, bench, parts, seed)
    config = replace(request.tuning, seed=seed)
    network = build_network(
        bench.task.value,
        backbone,
        classes=bench.class_count,
        head=config.head,
        width=config.width,
        frozen=config.frozen,
        seed=seed,
    )
    examples = {
        name: Examples(split=part, unit=bench.unit, contract=contract)
        for name, part in parts.items()
    }
    epochs = 0
    for epoch in tune(
        network, bench, examples["train"], examples.get("valid"), config, device=request.device
    ):
        epochs = epoch.number
        if request.report is not None:
            request.report(seed, epoch)
    matrices = confusions(network, examples["test"], bench, crop=config.crop, device=request.device)
    how = {**asdict(config), "epochs_run": epochs, "test": list(parts["test"].names[:_NAMED])}
    record = {**identity, "contract": contract.record()}
    return Measured(Outcome(matrices, BLOCK_UNIT, how), record)


def _threshold(request: Evaluation, bench: Benchmark, parts: Mapping[str, Split]) -> Measured:
    """The absolute difference of the raw bands, its threshold chosen on the training scenes."""
    if bench.task is not Task.CHANGE or request.model != RAW_BANDS:
        raise ConfigError(
            f"{request.model} cannot be tuned; {RAW_BANDS} works for change, and for kNN, probe, "
            "pixels both baselines do"
        )
    train = parts["train"]
    contract = choose_contract(
        request.contract or "stats", bands=train.bands, unit=bench.unit, train=train
    )
    found = {
        name: Examples(split=part, unit=bench.unit, contract=contract)
        for name, part in parts.items()
        if name != "valid"
    }
    for examples in found.values():
        survey(examples, bench)
    step = best_threshold(
        [difference(example.image) for example in found["train"]],
        [example.target for example in found["train"]],
    )
    matrices = [
        matrix
        for example in found["test"]
        for matrix in block_confusions(
            example.target, (difference(example.image) >= step).astype(np.int64), classes=2
        )
    ]
    how = {"threshold": step, "test": list(parts["test"].names[:_NAMED])}
    record = {"model": "absolute difference", "contract": contract.record()}
    return Measured(Outcome(np.stack(matrices), BLOCK_UNIT, how), record)


def _segment(
    request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int
) -> Measured:
    _only(bench, Task.SEGMENT, "segment")
    return _tuned(request, bench, splits, seed)


def _change(request: Evaluation, bench: Benchmark, splits: dict[str, Split], seed: int) -> Measured:
    _only(bench, Task.CHANGE, "change")
    return _tuned(request, bench, splits, seed)


def _only(bench: Benchmark, task: Task, protocol: str) -> None:
    if bench.task is not task:
        raise ConfigError(f"protocol {protocol} does not fit {bench.name}: {bench.task.value}")


_RUN: dict[str, Callable[..., Measured]] = {
    "knn": _knn,
    "probe": _probe,
    "pixels": _pixels,
    "segment": _segment,
    "change": _change,
}
