"""What an exported backbone says of itself: a model card for people, an MLM item for catalogues."""

from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn

from deo.contracts import Contract
from deo.training import settings
from deo.training.config import Config

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
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
    own = provenance
    alone = own.config.optical.name == "none"
    method = "self-distillation" if alone else "dual-teacher pretraining"
    channels = {"ms": f"10 bands ({contract.bands})", "rgb": "red, green, blue"}
    stem = "" if len(own.stems) > 1 else f" in_chans={len(contract.bands)},"
    return f"""# {own.model}

A Sentinel-2 backbone, the {own.role} after {own.step} steps of {method} with deo
{own.deo_version} (method: arXiv 2602.19863).

## Use

```python
import deo, timm
model = timm.create_model("{own.model}", pretrained=True, num_classes=0,{stem}
                          pretrained_cfg_overlay=dict(file="{weights}"))
```

Input: {" or ".join(channels[stem] for stem in own.stems)}, under the contract `{contract.name}` of
`deo.contracts`.

## Training

{_training(own, licence)}
These numbers describe the pretraining objective. They say nothing about accuracy on a task; measure
that with `deo evaluate`.

## Configuration

```toml
{settings.dumps(own.config).rstrip()}
```
"""


def _training(own: Provenance, licence: str | None) -> str:
    config = own.config
    data = ", ".join(f"{name} {value}" for name, value in own.data.items())
    measured = [f"| {name} | {own.measured[name]:.4f} |" for name in _SHOWN if name in own.measured]
    lines = [
        f"* data: `{config.data.source}`, {data}",
        f"* optical teacher: {config.optical.name}",
        f"* licence of the optical teacher's weights: {own.licence or 'no teacher, no terms'}",
        f"* licence of these weights: {licence or 'to be stated by who publishes them'}"
        + (", within the terms above" if own.licence else ""),
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
    """
    own = provenance
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [MLM_SCHEMA],
        "id": f"{own.model}-{own.role}-{own.step}",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [-180, -90, 180, 90],
        "properties": _properties(own, model)
        | {
            "mlm:input": [_input(contract, own.config.views.global_size)],
            "mlm:output": [_output(features)],
        },
        "links": [],
        "assets": {
            "weights": {
                "href": f"./{weights}",
                "type": "application/octet-stream; application=safetensors",
                "title": f"{own.model} for timm {timm.__version__}",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "safetensors",
            }
        },
    }


def _properties(own: Provenance, model: nn.Module) -> dict[str, Any]:
    return {
        "datetime": None,
        "start_datetime": "2015-06-23T00:00:00Z",  # first Sentinel-2 launch
        "end_datetime": "9999-12-31T23:59:59Z",
        "mlm:name": own.model,
        "mlm:architecture": type(model).__name__,
        "mlm:tasks": ["feature-extraction"],
        "mlm:framework": "PyTorch",
        "mlm:framework_version": str(torch.__version__).split("+")[0],
        "mlm:total_parameters": sum(p.numel() for p in model.parameters()),
        "mlm:pretrained": True,
        "mlm:pretrained_source": str(own.config.data.source),
        "mlm:hyperparameters": {
            "step": own.step,
            "role": own.role,
            "optical_teacher": own.config.optical.name,
            "optical_teacher_licence": own.licence,
        },
    }


def _output(features: tuple[int, ...]) -> dict[str, Any]:
    places = ["height", "width"] if len(features) == 4 else ["token"]
    return {
        "name": "features",
        "tasks": ["feature-extraction"],
        "result": {
            "shape": [-1, *features[1:]],
            "dim_order": ["batch", *places, "channel"],
            "data_type": "float32",
        },
    }


def _input(contract: Contract, size: int) -> dict[str, Any]:
    record = contract.record()
    return {
        "name": f"Sentinel-2 digital numbers (reflectance x 10000), contract {contract.name}",
        "bands": list(contract.bands),
        "input": {
            "shape": [-1, len(contract.bands), size, size],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(record["mean"], record["std"], strict=True)
        ],
        "pre_processing_function": {
            "format": "python",
            "expression": "deo.contracts:Contract.apply",
        },
    }
