"""Change without a network: how far two dates differ, and from where on that is a change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError
from deo.training.tasks.backbones import RAW_BANDS
from deo.training.tasks.dataset import Split
from deo.training.tasks.inputs import choose_contract
from deo.training.tasks.outcome import BLOCK_UNIT, Outcome, block_confusions
from deo.training.tasks.patches import Examples
from deo.training.tasks.request import Request
from deo.training.tasks.scores import IGNORE, confusion, positive_f1
from deo.training.tasks.survey import survey
from deo.training.tasks.task import Task

_CANDIDATES = 200


def difference(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference over bands: (2, C, H, W) normalised -> (H, W)."""
    return np.asarray(np.abs(image[0] - image[1]).mean(0), np.float32)


def best_threshold(
    differences: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.integer[Any]]]
) -> float:
    """The threshold with the highest F1 over all training pixels (ignored ones left out)."""
    seen = [mask != IGNORE for mask in masks]
    values = np.concatenate([one[part] for one, part in zip(differences, seen, strict=True)])
    truth = np.concatenate([one[part] for one, part in zip(masks, seen, strict=True)])
    candidates = np.unique(np.quantile(values, np.linspace(0, 1, _CANDIDATES)))
    scores = [
        positive_f1(
            confusion(truth, (values >= step).astype(np.int64), classes=2).astype(np.float64)
        )
        for step in candidates
    ]
    return float(candidates[int(np.nanargmax(scores))]) if np.isfinite(scores).any() else np.inf


def evaluate_threshold(request: Request, parts: Mapping[str, Split]) -> Outcome:
    """The absolute difference of the raw bands, its threshold chosen on the training scenes.

    Args:
        parts: `train` and `test`; nothing is chosen on `valid`.

    Raises:
        ConfigError: the task is not change, or the model is not `raw-bands`.
        DataError: pixels are not finite.
    """
    bench, train = request.benchmark, parts["train"]
    if bench.task is not Task.CHANGE or request.model != RAW_BANDS:
        raise ConfigError(
            f"{request.model} cannot be tuned; {RAW_BANDS} works for change, and for kNN, probe, "
            "pixels both baselines do"
        )
    contract = choose_contract(
        request.contract or "stats", bands=train.bands, unit=bench.unit, train=train
    )
    learned, tested = (
        Examples(split=parts[name], unit=bench.unit, contract=contract)
        for name in ("train", "test")
    )
    for examples in (learned, tested):
        survey(examples, bench)  # refuses pixels that are not finite
    step = best_threshold(
        [difference(example.image) for example in learned],
        [example.target for example in learned],
    )
    matrices = [
        matrix
        for example in tested
        for matrix in block_confusions(
            example.target, (difference(example.image) >= step).astype(np.int64), classes=2
        )
    ]
    record = {"model": "absolute difference", "contract": contract.record()}
    return Outcome(np.stack(matrices), BLOCK_UNIT, {"threshold": step}, record)
