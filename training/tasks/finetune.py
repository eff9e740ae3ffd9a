"""One run of `deo finetune`: data, backbone, head, the loop, and the files it leaves."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from deo.bands import BandSet
from deo.errors import ConfigError, OutputError
from deo.files.disk import make_folder
from deo.files.lock import claim
from deo.training.run import checkpoint
from deo.training.tasks.backbones import BASELINES, open_backbone
from deo.training.tasks.dataset import Split
from deo.training.tasks.heads import Network, build_network
from deo.training.tasks.inference import confusions
from deo.training.tasks.inputs import InputContract, choose_bands, choose_contract
from deo.training.tasks.patches import Examples
from deo.training.tasks.scores import STATISTICS
from deo.training.tasks.splits import divide, fraction
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tune import LOG_NAME, Epoch, tune
from deo.training.tasks.tuneconfig import TuneConfig
from deo.training.tasks.tuned import BEST, Description, load_tuned, save_tuned


@dataclass(frozen=True, kw_only=True)
class TunedRun:
    """What is tuned on what.

    Args:
        benchmark, data: the labels.
        model, weights, untrained: the backbone.
        bands, contract: its input; None: see `choose_bands`, `choose_contract`.
        test, valid: see `divide`.
        share: part of the training samples used.
    """

    benchmark: Benchmark
    data: Path
    model: str
    weights: Path | None = None
    untrained: bool = False
    bands: BandSet | None = None
    contract: str | None = None
    test: tuple[str, ...] = ()
    valid: float = 0.15
    share: float = 1.0
    tuning: TuneConfig = field(default_factory=TuneConfig)
    device: str = "cpu"


class Finished(NamedTuple):
    """The best network's file and one line about it."""

    path: Path
    summary: str


def run_tuning(
    run: TunedRun,
    *,
    task: str,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[Epoch], None] | None = None,
) -> Finished:
    """Tune, keep the best epoch as `best.safetensors`, score it on the test part if there is one.

    Raises:
        ConfigError: task and data do not fit, or `resume` meets other settings or data.
        OutputError: the folder holds a run already, or cannot be written.
        BusyError: another run is writing to the folder.
    """
    _check_task(run.benchmark, task, run.model)
    with _own_folder(folder, resume=resume, overwrite=overwrite):
        return _run(run, folder=folder, resume=resume, report=report)


def _run(
    run: TunedRun, *, folder: Path, resume: bool, report: Callable[[Epoch], None] | None
) -> Finished:
    bench = run.benchmark
    parts = _parts(run)
    loaded = open_backbone(
        run.model,
        bands=parts["train"].bands,
        weights=run.weights,
        untrained=run.untrained,
        seed=run.tuning.seed,
    )
    contract = choose_contract(
        run.contract,
        bands=loaded.bands,
        unit=bench.unit,
        stored=loaded.weights.contract,
        train=parts["train"],
    )
    head = "linear" if bench.task in (Task.CLASSIFY, Task.MULTILABEL) else run.tuning.head
    network = build_network(
        bench.task.value,
        loaded.model,
        classes=bench.class_count,
        head=head,
        width=run.tuning.width,
        frozen=run.tuning.frozen,
        seed=run.tuning.seed,
    )
    examples = _examples(parts, bench, contract)
    if not resume:
        _clear(folder)

    def keep(score: float) -> None:
        description = Description(
            task=bench.task.value,
            backbone=run.model,
            weights=loaded.weights.source,
            bands=loaded.bands.names,
            classes=bench.class_names,
            head=head,
            width=run.tuning.width,
            contract=contract.record(),
            dataset=bench.name,
            score=None if math.isnan(score) else score,
            crop=run.tuning.crop,
        )
        save_tuned(network, description, folder / BEST)

    for epoch in tune(
        network,
        bench,
        examples["train"],
        examples.get("valid"),
        run.tuning,
        folder=folder,
        resume=resume,
        origin={
            "model": run.model,
            "weights": loaded.weights.source,
            "weights.sha256": loaded.weights.sha256,
        },
        keep=keep,
        device=run.device,
    ):
        if report is not None:
            report(epoch)
    best = load_tuned(folder / BEST).description.score
    return Finished(folder / BEST, _summary(network, examples, run, best))


def _check_task(bench: Benchmark, task: str, model: str) -> None:
    fitting = {
        "classify": (Task.CLASSIFY, Task.MULTILABEL),
        "segment": (Task.SEGMENT,),
        "change": (Task.CHANGE,),
    }
    if bench.task not in fitting[task]:
        raise ConfigError(f"{bench.name} is made for {bench.task.value}, not for {task}")
    if model in BASELINES:
        raise ConfigError(f"{model} is no network and cannot be tuned")


@contextlib.contextmanager
def _own_folder(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder, and keep other runs out of it and an earlier run in it."""
    with claim(make_folder(folder)):
        if _left(folder) and not resume and not overwrite:
            going_on = "--resume to go on, " if checkpoint.saved(folder) else ""
            raise OutputError(f"{folder} holds a run; use {going_on}--overwrite to replace it")
        checkpoint.remove_unfinished(folder)
        yield


def _left(folder: Path) -> list[Path]:
    """What a run leaves."""
    results = [folder / LOG_NAME, folder / BEST]
    return [*checkpoint.saved(folder), *(path for path in results if path.exists())]


def _clear(folder: Path) -> None:
    """Delete an earlier run, not before this one has its data and its network."""
    try:
        for path in _left(folder):
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def _parts(run: TunedRun) -> dict[str, Split]:
    bands = run.bands or choose_bands(run.benchmark.layout)
    splits = run.benchmark.open(run.data, bands=bands)
    if "all" in splits and not run.test:
        splits = {"train": splits["all"]}  # for use, not for a score: nothing is held out to test
    parts = divide(splits, test=run.test, valid=run.valid, seed=run.tuning.seed)
    parts["train"] = fraction(parts["train"], run.share, seed=run.tuning.seed)
    return parts


def _examples(
    parts: Mapping[str, Split], bench: Benchmark, contract: InputContract
) -> dict[str, Examples]:
    return {
        name: Examples(split=part, unit=bench.unit, contract=contract)
        for name, part in parts.items()
    }


def _summary(
    network: Network, examples: Mapping[str, Examples], run: TunedRun, best: float | None
) -> str:
    metric = run.benchmark.metric
    text = "last epoch" if best is None else f"validation {metric} {100 * best:.1f} %"
    if "test" not in examples or not len(examples["test"]):
        return text
    matrices = confusions(
        network, examples["test"], run.benchmark, crop=run.tuning.crop, device=run.device
    )
    return f"{text}, test {metric} {100 * STATISTICS[metric](matrices.sum(0)):.1f} %"
