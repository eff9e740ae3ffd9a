"""What an exported backbone says of itself: a model card for people, an MLM item for catalogues."""

from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from deo.contracts import Contract
from deo.describe.models import Result, Weights, model_item
from deo.describe.stac import ANYWHERE
from deo.training import settings
from deo.training.config import Config

_SHOWN = ("loss", "comp", "expa", "cls", "patch", "effective_rank", "head_cosine", "probe")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a backbone comes from.

    Args:
        model: name of the architecture.
        role: `student` or `teacher`.
        stems: those it has, of `ms` and `rgb`.
        step: optimiser steps taken.
        config: the run.
        data: what identifies the data.
        licence: of the optical teacher's weights; None without one.
        measured: the run's last record.
        deo_version: that wrote it.
    """

    model: str
    role: str
    stems: tuple[str, ...]
    step: int
    config: Config
    data: dict[str, Any]
    licence: str | None
    measured: dict[str, Any]
    deo_version: str


def model_card(
    provenance: Provenance, contract: Contract, *, weights: str, licence: str | None = None
) -> str:
    """The card as markdown, without the Hub's front matter.

    Args:
        weights: name of the file.
        licence: of these weights, where their publisher has chosen one.
    """
    alone = provenance.config.optical.name == "none"
    method = "self-distillation" if alone else "dual-teacher pretraining"
    channels = {"ms": f"10 bands ({contract.bands})", "rgb": "red, green, blue"}
    inputs = " or ".join(channels[stem] for stem in provenance.stems)
    stem = "" if len(provenance.stems) > 1 else f" in_chans={len(contract.bands)},"
    return f"""# {provenance.model}

A Sentinel-2 backbone, the {provenance.role} after {provenance.step} steps of {method} with deo
{provenance.deo_version} (method: arXiv 2602.19863).

## Use

```python
import deo, timm
model = timm.create_model("{provenance.model}", pretrained=True, num_classes=0,{stem}
                          pretrained_cfg_overlay=dict(file="{weights}"))
```

Input: {inputs}, under the contract `{contract.name}` of
`deo.contracts`.

## Training

{_training(provenance, licence)}
These numbers describe the pretraining objective. They say nothing about accuracy on a task; measure
that with `deo evaluate`.

## Configuration

```toml
{settings.dumps(provenance.config).rstrip()}
```
"""


def _training(provenance: Provenance, licence: str | None) -> str:
    config, terms = provenance.config, provenance.licence
    data = ", ".join(f"{name} {value}" for name, value in provenance.data.items())
    measured = [
        f"| {name} | {provenance.measured[name]:.4f} |"
        for name in _SHOWN
        if name in provenance.measured
    ]
    lines = [
        f"* data: `{config.data.source}`, {data}",
        f"* optical teacher: {config.optical.name}",
        f"* licence of the optical teacher's weights: {terms or 'no teacher, no terms'}",
        f"* licence of these weights: {licence or 'to be stated by who publishes them'}"
        + (", within the terms above" if terms else ""),
        "",
    ]
    if measured:
        lines += ["| last record | |", "|---|---|", *measured, ""]
    return "\n".join(lines)


def mlm_item(
    provenance: Provenance,
    contract: Contract,
    model: nn.Module,
    features: tuple[int, ...],
    *,
    weights: str,
) -> dict[str, Any]:
    """A STAC item with the Machine Learning Model extension.

    Args:
        features: shape of one image's features, channels last.
        weights: name of the file beside.
    """
    config = provenance.config
    places = ("height", "width") if len(features) == 4 else ("token",)
    return model_item(
        f"{provenance.model}-{provenance.role}-{provenance.step}",
        ANYWHERE,
        model=provenance.model,
        contract=contract.record(),
        side=config.views.global_size,
        result=Result(name="features", shape=features[1:], axes=(*places, "channel")),
        weights=Weights(
            href=f"./{weights}",
            title=f"{provenance.model} for timm {timm.__version__}",
            safetensors=True,
        ),
        properties={
            "mlm:total_parameters": sum(p.numel() for p in model.parameters()),
            "mlm:pretrained_source": str(config.data.source),
            "mlm:hyperparameters": {
                "step": provenance.step,
                "role": provenance.role,
                "optical_teacher": config.optical.name,
                "optical_teacher_licence": provenance.licence,
            },
        },
    )
