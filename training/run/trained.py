"""A backbone read out of a run: rebuilt, filled, and said where it comes from."""

import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.contracts import Contract, fit_contract
from deo.errors import DataError, WeightsError
from deo.training import settings
from deo.training.config import Config
from deo.training.data.identity import summary
from deo.training.method.config import Optical
from deo.training.method.optical_table import licence_of
from deo.training.method.trunk import build_network
from deo.training.run import checkpoint as checkpoints
from deo.training.run.card import Provenance
from deo.training.run.checkpoint import CHECKPOINTS_NAME, Found
from deo.training.run.journal import METRICS_NAME, as_number, read_metrics
from deo.training.run.snapshot import backbone_of


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A backbone out of a run.

    Args:
        model: without heads, in evaluation mode.
        contract: the input that it was trained on.
        provenance: where it comes from.
    """

    model: nn.Module
    contract: Contract
    provenance: Provenance


def load_trained(run: Path, *, teacher: bool = False, step: int | None = None) -> Trained:
    """Rebuild the trunk of a run.

    Args:
        run: the output folder of `deo pretrain`, or one checkpoint.
        teacher: the EMA teacher, which has the multispectral stem alone, in place of the student,
            which has both stems where an optical teacher took part (and is what was published).
        step: of the checkpoint; the newest that is whole when None.

    Raises:
        DataError: there is no checkpoint, or none of that step.
        WeightsError: the checkpoint named, or every one, is damaged, or does not fit its own
            configuration.
    """
    path, checkpoint = _choose(run, step)
    config = settings.from_dict(checkpoint.config)
    role = "teacher" if teacher else "student"
    tensors = backbone_of(checkpoint.state[role])
    stems = {name.split(".")[1] for name in tensors if name.startswith("patch_embed.")}
    both = {"ms", "rgb"} <= stems
    bands = RGB_BANDS if config.model.input == "rgb" else MODEL_BANDS
    model = _rebuild(config, tensors, in_chans=None if both else len(bands), origin=path)
    licence = licence_of(config.optical)
    if custom := checkpoint.custom.get("optical"):
        config = replace(config, optical=Optical(name=custom["name"]))
        licence = custom["licence"]
    provenance = Provenance(
        model=config.model.name,
        role=role,
        stems=("ms", "rgb") if both else (config.model.input,),
        step=checkpoint.step,
        config=config,
        data=summary(checkpoint.data),
        licence=licence,
        measured=_measured(path, checkpoint.step),
        deo_version=importlib.metadata.version("deo"),
    )
    return Trained(
        model=model, contract=fit_contract("pretrain", bands=bands), provenance=provenance
    )


def _choose(run: Path, step: int | None) -> Found:
    if run.is_file():
        return Found(run, checkpoints.load(run))
    folder = run / CHECKPOINTS_NAME
    if step is None:
        chosen = checkpoints.newest(folder)
        if chosen is None:
            raise DataError(
                f"{run} has no checkpoint in {folder}; is it the output of `deo pretrain`?"
            )
        return chosen
    steps = {int(path.stem.removeprefix("step-")): path for path in checkpoints.saved(folder)}
    if step not in steps:
        steps_saved = ", ".join(map(str, steps)) or "none at all"
        raise DataError(f"{folder} has no checkpoint of step {step}; it has those of {steps_saved}")
    return Found(steps[step], checkpoints.load(steps[step]))


def _rebuild(
    config: Config, tensors: dict[str, torch.Tensor], *, in_chans: int | None, origin: Path
) -> nn.Module:
    model = build_network(config.model, in_chans=in_chans)
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{origin} does not hold a whole {config.model.name}: {error}"
        ) from error
    return model.eval()


def _measured(path: Path, step: int) -> dict[str, Any]:
    """The last record of the run's metrics up to this step, where it lies beside."""
    metrics = path.parent.parent / METRICS_NAME
    if not metrics.is_file():
        return {}
    records = [record for record in read_metrics(metrics) if record["step"] <= step]
    last = {name: as_number(value) for name, value in records[-1].items()} if records else {}
    return {name: value for name, value in last.items() if value is not None}
