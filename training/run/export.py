"""From a run to a backbone that others load: weights, model card, machine-readable description."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from deo.bands import BandSet
from deo.errors import OutputError
from deo.files.publish import write_file
from deo.models import weight_files
from deo.models.weights import save_weights
from deo.training import settings
from deo.training.config import Config
from deo.training.run.card import mlm_item, model_card
from deo.training.run.trained import Trained, load_trained


class Exported(NamedTuple):
    """What `export` wrote."""

    weights: Path
    card: Path
    mlm: Path


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
    existing = [str(path) for path in targets if path.exists()]
    if existing and not overwrite:
        raise OutputError(
            f"{', '.join(existing)} exists; --overwrite (overwrite=True) replaces it, or name "
            "another file"
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
