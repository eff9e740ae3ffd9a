"""From a request to a tuned network and its score: the one way, with a folder or without."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.contracts import InputContract
from deo.errors import OutputError
from deo.training.run import checkpoint
from deo.training.tasks.dataset import Split
from deo.training.tasks.heads import Network, build_network
from deo.training.tasks.inference import confusions
from deo.training.tasks.patches import Examples, TrainingSize, training_size
from deo.training.tasks.request import Chosen, Report, Request, chosen_backbone
from deo.training.tasks.task import Task
from deo.training.tasks.tune import LOG_NAME, tune
from deo.training.tasks.tuned import BEST, Description, save_tuned


class Fitted(NamedTuple):
    """A network with its best weights.

    `contract`: from pixels to its input.
    `identity`: where the backbone came from, JSON-able.
    `epochs`: the last one that was run, 0 where a resumed run had none left.
    `matrices`: (units, K, K) confusion matrices of the test part; None where there is none.
    """

    network: Network
    contract: InputContract
    identity: Mapping[str, Any]
    epochs: int
    matrices: NDArray[np.int64] | None


def fit(
    request: Request,
    parts: Mapping[str, Split],
    *,
    folder: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Fitted:
    """Build the network that a request names, tune it, and score it on the test part.

    Args:
        request: its seed is that of `request.tuning`.
        parts: `train`, and `valid` and `test` where there are such.
        folder: keeps the best network, the last checkpoints and the log; None: nothing is written.
        resume: see `tune`.
        report: is told about every epoch.

    Raises:
        DeoError: as `chosen_backbone`, `tune` and `confusions` do.
    """
    bench, config = request.benchmark, request.tuning
    chosen = chosen_backbone(request, parts, config.seed, mapped=True)
    network = build_network(
        bench.task.value,
        chosen.model,
        classes=bench.class_count,
        head=_head(request),
        width=config.width,
        frozen=config.frozen,
        seed=config.seed,
    )
    examples = {
        name: Examples(split=part, unit=bench.unit, contract=chosen.contract)
        for name, part in parts.items()
    }
    size = training_size(examples["train"], config.crop)
    if folder is not None and not resume:
        _clear(folder)
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
        keep=None
        if folder is None
        else functools.partial(_keep, network, request, chosen, size, folder),
        device=request.device,
    ):
        epochs = epoch.number
        if report is not None:
            report(config.seed, epoch)
    matrices = None
    if "test" in examples and len(examples["test"]):
        matrices = confusions(
            network, examples["test"], bench, size=size.side, device=request.device
        )
    return Fitted(network, chosen.contract, chosen.identity, epochs, matrices)


def remains(folder: Path) -> list[Path]:
    """The files of an earlier run in a folder."""
    results = [folder / LOG_NAME, folder / BEST]
    return [*checkpoint.saved(folder), *(path for path in results if path.exists())]


def _clear(folder: Path) -> None:
    """Delete an earlier run; not before this one has its data and its network."""
    try:
        for path in remains(folder):
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def _head(request: Request) -> str:
    """Tiles have one label, which a linear layer reads; a head of maps has nothing to do there."""
    tiles = request.benchmark.task in (Task.CLASSIFY, Task.MULTILABEL)
    return "linear" if tiles else request.tuning.head


def _origin(chosen: Chosen) -> dict[str, Any]:
    """What the network began as, which a resumed run compares."""
    return {
        "model": chosen.identity["model"],
        "weights": chosen.identity["weights"],
        "weights.sha256": chosen.identity["sha256"],
    }


def _keep(
    network: Network,
    request: Request,
    chosen: Chosen,
    size: TrainingSize,
    folder: Path,
    score: float,
) -> None:
    """Write the network as the best so far."""
    bench = request.benchmark
    description = Description(
        task=bench.task.value,
        backbone=request.model,
        weights=chosen.identity["weights"],
        bands=chosen.contract.bands.names,
        classes=bench.class_names,
        head=_head(request),
        width=request.tuning.width,
        contract=chosen.contract.record(),
        dataset=bench.name,
        score=None if math.isnan(score) else score,
        size=size.side,
        whole=size.whole,
    )
    save_tuned(network, description, folder / BEST)
