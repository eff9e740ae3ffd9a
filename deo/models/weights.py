"""Weights into a model, whole or not at all, and out of it."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import metadata as installed
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, WeightsError
from deo.models import convert, weight_files
from deo.models.initial import SeededDraws
from deo.models.registry import spec_of
from deo.models.sources import (
    HEAD,
    MS_WEIGHT,
    Backbone,
    WeightsRecord,
    from_file,
    from_state_dict,
    ms_width,
    released,
)


class LoadedBackbone(NamedTuple):
    """A model ready to use, the bands it takes in order, and where its weights came from."""

    model: nn.Module
    bands: BandSet
    weights: WeightsRecord


def load_backbone(
    name: str,
    *,
    weights: Path | None = None,
    untrained: bool = False,
    bands: BandSet | Sequence[str] | None = None,
    features_only: bool = True,
    seed: int | None = None,
    **model_kwargs: Any,
) -> LoadedBackbone:
    """Build a backbone with one stem and load its weights.

    Args:
        name: a backbone, e.g. `deo_swin_b`.
        weights: a file of ours, a released one or a training checkpoint. Default: the public
            weights of this backbone.
        untrained: random weights, on request only.
        bands: what the stem takes, in this order. Red, green, blue chooses the stem of three
            channels, anything else a multispectral one; default is what the weights were made
            for, or the ten model bands.
        features_only: as in timm: a list of maps (B, C, h, w).
        seed: of whatever is drawn at random (an untrained network, a new classifier); None draws
            from PyTorch's global generator.
        model_kwargs: further arguments of `timm.create_model`, e.g. `out_indices`, `img_size`.

    Raises:
        ModelError: there is no such backbone, or it cannot be built so.
        WeightsError: there are no weights, or they do not fit the backbone in full.
    """
    spec = spec_of(name)
    if weights is not None and untrained:
        raise WeightsError(f"{name}: both weights={weights} and untrained were asked for; choose")
    read = None
    if not untrained:
        read = released(spec) if weights is None else from_file(Path(weights), spec)
    if bands is None:
        bands = MODEL_BANDS if read is None else _bands_of(read)
    bands = bands if isinstance(bands, BandSet) else BandSet(bands)
    # names always mean a multispectral stem: the red-green-blue one is asked for by its width
    stem: dict[str, Any] = {"bands": bands.names}
    if bands in (RGB_BANDS, MODEL_BANDS):
        stem = {"in_chans": len(bands)}
    with nullcontext() if seed is None else SeededDraws(seed):
        model = timm.create_model(
            spec.name, features_only=features_only, backbone=read, **stem, **model_kwargs
        )
    _unwrapped(model).bands = bands.names
    record = read.record if read else WeightsRecord(model=spec.name, source="untrained")
    return LoadedBackbone(model=model, bands=bands, weights=record)


def fill(model: nn.Module, backbone: Backbone, *, bands: BandSet | None = None) -> None:
    """Load a backbone into a model: every tensor of the model, save a new classifier's.

    What the model leaves out (a stem, layers that `features_only` pruned) is left out; a
    multispectral stem of fewer or reordered bands takes the matching slices.

    Args:
        model: as `timm.create_model` builds it.
        backbone: what to load.
        bands: what the model's multispectral stem takes; default: what the backbone's takes.

    Raises:
        WeightsError: the model has a tensor that the backbone lacks, or of another shape.
    """
    inner = _unwrapped(model)
    tensors: dict[str, torch.Tensor] = inner.state_dict()
    chosen = {name: tensor for name, tensor in backbone.tensors.items() if name in tensors}
    if bands is None and ms_width(tensors) == len(MODEL_BANDS):
        bands = MODEL_BANDS
    if MS_WEIGHT in chosen and bands is not None and bands != backbone.bands:
        chosen[MS_WEIGHT] = chosen[MS_WEIGHT][:, _positions(bands, backbone)]
    for name, tensor in tensors.items():
        if name.startswith(HEAD) and _differs(chosen.get(name), tensor):
            chosen[name] = tensor
    expected = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    convert.refuse_misfits(chosen, expected, model=backbone.record.model)
    inner.load_state_dict(chosen, strict=True)


def save_weights(
    model: nn.Module,
    path: Path,
    *,
    contract: dict[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a backbone as a safetensors file that `load_backbone(weights=...)` takes.

    The file appears whole or not at all, replacing one of that name. Its metadata carries the
    model's name, its bands, the version of deo, and the input contract as JSON.

    Args:
        model: a backbone made by timm, compiled or wrapped or not, without a classifier.
        path: where to.
        contract: record of the input contract.
        metadata: more text to store beside.

    Raises:
        WeightsError: the model is not a whole backbone of ours.
        OutputError: it cannot be written there.
    """
    inner = _unwrapped(model)
    cfg = getattr(inner, "pretrained_cfg", None) or {}
    spec = spec_of(str(cfg.get("architecture", type(inner).__name__)))
    named = getattr(inner, "bands", None)
    record = WeightsRecord(model=spec.name, source="untrained", contract=contract)
    bands = BandSet(named) if named and MS_WEIGHT in inner.state_dict() else None
    backbone = from_state_dict(inner.state_dict(), spec, record=record, bands=bands)
    write_backbone(backbone, Path(path), metadata=metadata)


def write_backbone(
    backbone: Backbone, path: Path, *, metadata: dict[str, str] | None = None
) -> None:
    """Write a backbone as `save_weights` does, with its record's contract.

    Raises:
        OutputError: it cannot be written there.
    """
    said = {"model": backbone.record.model, "deo_version": installed.version("deo")}
    if backbone.bands is not None:
        said["bands"] = str(backbone.bands)
    if backbone.record.contract is not None:
        said["contract"] = json.dumps(backbone.record.contract)
    weight_files.write(backbone.tensors, path, {**(metadata or {}), **said})


def _bands_of(backbone: Backbone) -> BandSet:
    if MS_WEIGHT not in backbone.tensors:
        return RGB_BANDS
    if backbone.bands is None:
        raise WeightsError(
            f"{backbone.record.source} does not say which bands the "
            f"{ms_width(backbone.tensors)} channels of its stem are; say it with bands=..."
        )
    return backbone.bands


def _positions(bands: BandSet, backbone: Backbone) -> list[int]:
    if backbone.bands is None:
        if len(bands) == ms_width(backbone.tensors):
            return list(range(len(bands)))
        raise WeightsError(f"the weights do not say which bands they take; cannot choose {bands}")
    try:
        return list(bands.positions_in(backbone.bands.names))
    except BandError as error:
        raise WeightsError(
            f"these weights were not made for the bands asked for: {error}"
        ) from error


def _differs(given: torch.Tensor | None, wanted: torch.Tensor) -> bool:
    return given is None or given.shape != wanted.shape


def _unwrapped(model: nn.Module) -> Any:
    for attribute in ("_orig_mod", "module", "model"):
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return model
