"""From a request to a tuned network and its score: the one way, with a folder or without."""

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from deo.contracts import InputContract
from deo.errors import OutputError
from deo.training.run import checkpoint
from deo.training.tasks.dataset import Split
from deo.training.tasks.heads import WIDTHS, Network, build_network
from deo.training.tasks.inference import confusions
from deo.training.tasks.outcome import Units
from deo.training.tasks.patches import Examples, TrainingSize, training_size
from deo.training.tasks.plan import choose_crop, choose_frozen
from deo.training.tasks.progress import Report
from deo.training.tasks.request import Chosen, Request, chosen_backbone
from deo.training.tasks.survey import say_parts
from deo.training.tasks.task import Benchmark
from deo.training.tasks.tune import LOG_NAME, tune
from deo.training.tasks.tuneconfig import TuneConfig
from deo.training.tasks.tuned import BEST, Description, save_tuned

log = logging.getLogger(__name__)

SCORES = "scores.json"


class Fitted(NamedTuple):
    """A network with its best weights.

    `contract`: from pixels to its input.
    `identity`: where the backbone came from, JSON-able.
    `config`: how it was tuned, with what task and data decided.
    `epochs`: the last one that was run, 0 where a resumed run had none left.
    `units`: of the part that `judged_part` names; None where there is none.
    """

    network: Network
    contract: InputContract
    identity: Mapping[str, Any]
    config: TuneConfig
    epochs: int
    units: Units | None


def fit(
    request: Request,
    parts: Mapping[str, Split],
    *,
    folder: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Fitted:
    """Build the network that a request names, tune it, and score it.

    Args:
        request: its seed is that of `request.tuning`.
        parts: `train`, and `valid` and `test` where there are such.
        folder: keeps the best network, the last checkpoints and the log; None: nothing is written.
        resume: see `tune`.
        report: is told about every epoch.

    Raises:
        DeoError: as `chosen_backbone`, `tune` and `confusions` do.
    """
    bench = request.benchmark
    chosen = chosen_backbone(request, parts, request.tuning.seed, mapped=True)
    examples = _examples(parts, bench, chosen)
    config = _settled(request, examples)
    network = _network(bench, chosen, config)
    size = training_size(examples["train"], config.crop)
    say_parts(examples, bench)
    if folder is not None and not resume:
        _clear(folder)
    description = _description(request, config, chosen, size)
    epochs = 0
    for epoch in tune(
        network,
        bench,
        examples["train"],
        examples.get("valid"),
        config,
        folder=folder,
        resume=resume,
        origin=_origin(chosen),
        keep=None if folder is None else functools.partial(_keep, network, description, folder),
        device=request.device,
    ):
        epochs = epoch.number
        if report is not None:
            report(config.seed, epoch)
    units, part = None, judged_part(parts)
    if part is not None:
        units = confusions(network, examples[part], bench, size=size.side, device=request.device)
    return Fitted(network, chosen.contract, chosen.identity, config, epochs, units)


def judged_part(parts: Mapping[str, Split]) -> str | None:
    """Which part a tuned network is scored on: `test`, else `valid`, else None."""
    return next((name for name in ("test", "valid") if name in parts and len(parts[name])), None)


def _examples(parts: Mapping[str, Split], bench: Benchmark, chosen: Chosen) -> dict[str, Examples]:
    return {
        name: Examples(split=part, unit=bench.unit, contract=chosen.contract)
        for name, part in parts.items()
    }


def _settled(request: Request, examples: Mapping[str, Examples]) -> TuneConfig:
    """How a network is tuned, with what the request leaves to task and data."""
    config = request.tuning.settled()
    if config.crop is None:
        config = replace(config, crop=choose_crop(examples["train"]))
    if config.frozen is None:
        config = replace(config, frozen=choose_frozen(examples["train"]))
    how = "keeps still" if config.frozen else "learns"
    log.info("the backbone %s (--frozen or --tuned), the head is %s", how, config.head)
    return config


def _network(bench: Benchmark, chosen: Chosen, config: TuneConfig) -> Network:
    return build_network(
        bench.task.value,
        chosen.model,
        bands=len(chosen.contract.bands),
        classes=bench.class_count,
        head=config.head,
        width=config.width or WIDTHS[config.head],
        frozen=bool(config.frozen),
        seed=config.seed,
    )


def remains(folder: Path) -> list[Path]:
    """The files of an earlier run in a folder."""
    results = [folder / LOG_NAME, folder / BEST, folder / SCORES]
    return [*checkpoint.saved(folder), *(path for path in results if path.exists())]


def _clear(folder: Path) -> None:
    """Delete an earlier run; not before this one has its data and its network."""
    try:
        for path in remains(folder):
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def _origin(chosen: Chosen) -> dict[str, Any]:
    """What the network began as, which a resumed run compares."""
    return {
        "model": chosen.identity["model"],
        "weights": chosen.identity["weights"],
        "weights.sha256": chosen.identity["sha256"],
    }


def _description(
    request: Request, config: TuneConfig, chosen: Chosen, size: TrainingSize
) -> Description:
    """What a network is, but for its score."""
    bench = request.benchmark
    return Description(
        task=bench.task.value,
        backbone=request.model,
        weights=chosen.identity["weights"],
        bands=chosen.contract.bands.names,
        classes=bench.class_names,
        head=config.head,
        width=config.width or WIDTHS[config.head],
        contract=chosen.contract.record(),
        dataset=bench.name,
        size=size.side,
        whole=size.whole,
    )


def _keep(network: Network, description: Description, folder: Path, score: float) -> None:
    """Write the network as the best so far."""
    judged = replace(description, score=None if math.isnan(score) else score)
    save_tuned(network, judged, folder / BEST)
