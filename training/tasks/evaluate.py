"""A backbone measured on a data set: `deo evaluate` and `deo.training.evaluate`."""

import time
from pathlib import Path
from typing import Any

from deo.errors import ConfigError
from deo.training.tasks.dataset import Split
from deo.training.tasks.outcome import Outcome
from deo.training.tasks.progress import Progress, reporting
from deo.training.tasks.protocols import PROTOCOLS, Evaluation, require_protocol
from deo.training.tasks.request import request_from_settings
from deo.training.tasks.results import Result, summarise
from deo.training.tasks.splits import fraction


def evaluate(
    protocol: str,
    *,
    dataset: str,
    data: str | Path,
    model: str = "deo_swin_n",
    progress: Progress = None,
    **settings: Any,
) -> Result:
    """Measure a backbone on a data set.

        result = deo.training.evaluate("knn", dataset="eurosat-ms", data="eurosat/", k=5)
        print(result.value, result.interval)

    Args:
        protocol: `knn` and `probe` classify tiles by frozen features, `pixels` classifies the
            pixels of single scenes; `classify`, `segment` and `change` tune a head, and the
            backbone with it unless it is `frozen`, which is the default of `segment`, and of
            `classify` with few tiles.
        dataset: a benchmark's name, or `folder` for data of one's own.
        data: the folder that holds the data.
        model: a backbone of deo, any timm model, or `raw-bands` or `band-statistics`, which stand
            for no network.
        progress: True shows the samples, the steps and each epoch on standard error; a function
            is told the seed and the epoch after each epoch; None: nothing is shown.
        settings: further ones by name: of the request (`weights`, `untrained`, `bands`,
            `contract`, `fraction`, `test`, `valid`, `seeds`, `layers`, `size`, `k`, `metric`,
            `temperature`, `folds`, `device`; see `Evaluation`), of the data (`classes`,
            `stored_bands`, `band_keys`, `partition`, `scale`, `offset`; see `choose_benchmark`),
            and of tuning (see `TuneConfig`).

    Returns:
        The score in percent with its interval, beside the paper's number if there is one.

    Raises:
        ConfigError: a setting is unknown or does not fit.
        DeoError: its other children say what is missing or damaged.
    """
    require_protocol(protocol)
    if "seed" in settings:  # one of TuneConfig's, which each of the seeds replaces
        raise ConfigError("there is no setting 'seed'; give seeds=(0,)")
    if settings.get("frozen") is None and protocol == "segment":
        settings["frozen"] = True
    with reporting(progress) as report:
        request: Evaluation = request_from_settings(
            Evaluation,
            PROTOCOLS[protocol].task,
            dataset=dataset,
            data=data,
            settings={**settings, "model": model},
            protocol=protocol,
            report=report,
        )
        return measure(request)


def measure(request: Evaluation) -> Result:
    """Run every seed of an evaluation, and summarise.

    Raises:
        DeoError: its child says what is missing or does not fit.
    """
    start = time.monotonic()
    splits = request.open()
    outcomes: dict[int, Outcome] = {}
    for seed in request.seeds:
        parts = _with_fraction(splits, request.fraction, seed)
        outcomes[seed] = PROTOCOLS[request.protocol].measure(request, parts, seed)
    return summarise(
        request.benchmark,
        request.protocol,
        outcomes,
        bands=request.chosen_bands,
        samples={name: len(part) for name, part in splits.items()},
        fraction=request.fraction,
        seconds=time.monotonic() - start,
    )


def _with_fraction(splits: dict[str, Split], share: float, seed: int) -> dict[str, Split]:
    """Fewer training labels. A validation part that is drawn is drawn from these."""
    if share == 1:
        return splits
    if "train" not in splits:
        raise ConfigError("a fraction of the labels needs a train split; these data have none")
    return {**splits, "train": fraction(splits["train"], share, seed=seed)}
