"""From a run to a backbone that others load: weights, model card, machine-readable description."""

import importlib.metadata
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.contracts import Contract, fit_contract
from deo.errors import DataError, OutputError, WeightsError
from deo.files.publish import write_file
from deo.models import weight_files
from deo.models.weights import save_weights
from deo.training import settings
from deo.training.config import Config, Optical
from deo.training.data.identity import summary
from deo.training.method.optical_table import licence_of
from deo.training.method.trunk import build_network
from deo.training.run import checkpoint as checkpoints
from deo.training.run.card import Provenance, mlm_item, model_card
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


class Exported(NamedTuple):
    """What `export` wrote."""

    weights: Path
    card: Path
    mlm: Path


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
    path, found = _choose(run, step)
    config = settings.from_dict(found.config)
    role = "teacher" if teacher else "student"
    tensors = backbone_of(found.state[role])
    stems = {name.split(".")[1] for name in tensors if name.startswith("patch_embed.")}
    both = {"ms", "rgb"} <= stems
    bands = RGB_BANDS if config.model.input == "rgb" else MODEL_BANDS
    model = _rebuild(config, tensors, in_chans=None if both else len(bands), origin=path)
    licence = licence_of(config.optical)
    if custom := found.custom.get("optical"):
        config = replace(config, optical=Optical(name=custom["name"]))
        licence = custom["licence"]
    provenance = Provenance(
        model=config.model.name,
        role=role,
        stems=("ms", "rgb") if both else (config.model.input,),
        step=found.step,
        config=config,
        data=summary(found.data),
        licence=licence,
        measured=_measured(path, found.step),
        deo_version=importlib.metadata.version("deo"),
    )
    return Trained(
        model=model, contract=fit_contract("pretrain", bands=bands), provenance=provenance
    )


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


def export(
    run: Path,
    output: Path,
    *,
    teacher: bool = False,
    step: int | None = None,
    licence: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a run's backbone as safetensors, with a card (`.md`) and an MLM item (`.json`) beside.

    Args:
        run, teacher, step: see `load_trained`.
        output: the weights' path, `NAME.safetensors`.
        licence: of the weights, for the card.
        overwrite: replace files of these names. Each appears only when it is complete.

    Raises:
        DataError, WeightsError: see `load_trained`.
        OutputError: the name has another suffix, a file exists, or they cannot be written.
    """
    written = _targets(output, overwrite=overwrite)
    trained = load_trained(run, teacher=teacher, step=step)
    provenance, config = trained.provenance, trained.provenance.config
    metadata = {
        "role": provenance.role,
        "step": str(provenance.step),
        "config": settings.dumps(config),
        "data": json.dumps(provenance.data),
    }
    if provenance.licence is not None:
        metadata["optical_teacher"] = config.optical.name
        metadata["optical_teacher_licence"] = provenance.licence
    shape = _features_shape(trained.model, trained.contract.bands, config.views.global_size)
    text = model_card(provenance, trained.contract, weights=output.name, licence=licence)
    described = mlm_item(provenance, trained.contract, trained.model, shape, weights=output.name)
    _write(trained, output, config, metadata)
    write_file(written.card, text)
    write_file(written.mlm, json.dumps(described, indent=2) + "\n")
    return written


def _targets(output: Path, *, overwrite: bool) -> Exported:
    if output.suffix != ".safetensors":
        raise OutputError(f"cannot write {output}: give the weights a name with .safetensors")
    targets = Exported(output, output.with_suffix(".md"), output.with_suffix(".json"))
    there = [str(path) for path in targets if path.exists()]
    if there and not overwrite:
        raise OutputError(
            f"{', '.join(there)} exists; --overwrite (overwrite=True) replaces it, or name another "
            "file"
        )
    return targets


def push(
    run: Path,
    repository: str,
    *,
    teacher: bool = False,
    step: int | None = None,
    licence: str | None = None,
    **options: Any,
) -> None:
    """Upload a run's backbone to the Hugging Face Hub through timm's `push_to_hf_hub`.

    Args:
        repository: `user/name`.
        licence: of the weights, by the Hub's name for it; `other` when None.
        options: passed to timm (`private`, `token`, `revision`, `commit_message`, ...).

    Raises:
        DataError, WeightsError: see `load_trained`.
    """
    trained = load_trained(run, teacher=teacher, step=step)
    provenance, contract = trained.provenance, trained.contract
    model: Any = trained.model
    # timm would publish the licence of the registered weights, which are not these
    model.pretrained_cfg = dict(model.pretrained_cfg) | {"license": licence or "other"}
    name = "model.safetensors"
    timm.models.push_to_hf_hub(
        model,
        repository,
        task_name="image-feature-extraction",
        safe_serialization=True,
        model_config={"architecture": provenance.model, "num_classes": 0, "global_pool": "avg"},
        model_card={
            "license": licence or "other",
            "description": model_card(provenance, contract, weights=name, licence=licence),
            "details": {"Pretraining step": str(provenance.step), "Role": provenance.role},
        },
        **options,
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
        there = ", ".join(map(str, steps)) or "none at all"
        raise DataError(f"{folder} has no checkpoint of step {step}; it has those of {there}")
    return Found(steps[step], checkpoints.load(steps[step]))


def _write(trained: Trained, path: Path, config: Config, metadata: dict[str, str]) -> None:
    record = trained.contract.record()
    if not config.model.options:
        save_weights(trained.model, path, contract=record, metadata=metadata)
        return
    # other shapes than the registered backbone's: rebuilt with the same options only
    metadata |= {
        "model": config.model.name,
        "options": json.dumps(dict(config.model.options)),
        "bands": str(trained.contract.bands),
        "contract": json.dumps(record),
    }
    weight_files.write(trained.model.state_dict(), path, metadata)


@torch.no_grad()
def _features_shape(model: nn.Module, bands: BandSet, size: int) -> tuple[int, ...]:
    """Shape of one image's last features, channels last."""
    features: Any = model
    return tuple(features.forward_features(torch.zeros(1, len(bands), size, size)).shape)


def _measured(path: Path, step: int) -> dict[str, Any]:
    """The last record of the run's metrics up to this step, where it lies beside."""
    metrics = path.parent.parent / METRICS_NAME
    if not metrics.is_file():
        return {}
    records = [record for record in read_metrics(metrics) if record["step"] <= step]
    last = {name: as_number(value) for name, value in records[-1].items()} if records else {}
    return {name: value for name, value in last.items() if value is not None}
