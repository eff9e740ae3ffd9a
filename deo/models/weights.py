"""Weights for a backbone: found, checked, loaded whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as installed
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, WeightsError
from deo.models import convert, files, hub
from deo.models.registry import SPECS, Spec, shapes, spec_of
from deo.models.stems import MS

_MS_WEIGHT = f"patch_embed.{MS}.proj.weight"
_HEAD = "head."


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """Where a model's weights came from, to be written into everything made with it.

    Args:
        model: the backbone's name.
        source: `hub:repo@commit/file`, `file:name`, `embedded` or `untrained`.
        sha256: of the released or given file; None for untrained.
        contract: the record of the input contract stored with the weights, if there is one.
    """

    model: str
    source: str
    sha256: str | None = None
    contract: dict[str, Any] | None = None


class Backbone(NamedTuple):
    """Every tensor of a backbone, of both stems or one, and what its multispectral stem takes.

    `bands` is None when that stem takes channels without names.
    """

    tensors: dict[str, torch.Tensor]
    bands: BandSet | None
    record: WeightsRecord


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
    bands: BandSet | None = None,
    features_only: bool = True,
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
        model_kwargs: further arguments of `timm.create_model`.

    Raises:
        ModelError: there is no such backbone, or it cannot be built so.
        WeightsError: there are no weights, or they do not fit the backbone in full.
    """
    spec = spec_of(name)
    if weights is not None and untrained:
        raise WeightsError(f"{name}: both weights={weights} and untrained were asked for; choose")
    found = None
    if not untrained:
        found = released(spec) if weights is None else from_file(Path(weights), spec)
        bands = bands or _bands_of(found)
    bands = bands or MODEL_BANDS
    stem: dict[str, Any] = {"bands": bands.names}
    if bands in (RGB_BANDS, MODEL_BANDS):
        stem = {"in_chans": len(bands)}
    model = timm.create_model(spec.name, features_only=features_only, **stem, **model_kwargs)
    if found is None:
        record = WeightsRecord(model=spec.name, source="untrained")
    else:
        fill(model, found, bands=bands)
        record = found.record
    return LoadedBackbone(model=model, bands=bands, weights=record)


def released(spec: Spec, *, cache_dir: str | Path | None = None) -> Backbone:
    """The weights that belong to a backbone: inside this package, or on the Hub.

    Raises:
        WeightsError: there are none, or they cannot be had whole and verified.
    """
    if spec.asset is not None:
        with resources.as_file(resources.files("deo.assets") / spec.asset) as path:
            return from_file(path, spec, source="embedded")
    if spec.published is None:
        public = [other.name for other in SPECS.values() if other.published or other.asset]
        raise WeightsError(
            f"{spec.name} has no public weights (those exist for {', '.join(public)}). Pass a "
            "file, weights=FILE (--weights FILE), or ask for random weights, untrained=True "
            "(--untrained)"
        )
    found = hub.fetch(spec.name, spec.published, lambda: shapes(spec), cache_dir=cache_dir)
    record = WeightsRecord(model=spec.name, source=found.source, sha256=found.sha256)
    content = files.read(found.path).content
    return from_state_dict(content, spec, record=record, bands=MODEL_BANDS)


def from_cfg(
    spec: Spec,
    cfg: PretrainedCfg,
    *,
    bands: BandSet | None = None,
    cache_dir: str | Path | None = None,
) -> Backbone:
    """The weights that a timm configuration means; by default the released ones.

    Args:
        spec: the backbone.
        cfg: with overlays applied: a state dict, a file, a folder (`local-dir:`), a repository
            (`hf-hub:`), or nothing of these.
        bands: what the multispectral stem of those weights takes, where they do not say.
        cache_dir: instead of the Hub's own cache folder.

    Raises:
        WeightsError: there are none, or they are not a whole backbone of this spec.
    """
    if cfg.source == "local-dir":
        return from_file(_weights_in(Path(str(cfg.file))), spec, bands=bands)
    if cfg.source == "hf-hub":
        found = hub.fetch_saved(str(cfg.hf_hub_id), cfg.hf_hub_filename, cache_dir=cache_dir)
        return from_file(found.path, spec, source=found.source, bands=bands)
    if cfg.state_dict:
        record = WeightsRecord(model=spec.name, source="state_dict")
        return from_state_dict(cfg.state_dict, spec, record=record, bands=bands)
    if cfg.file:
        return from_file(Path(cfg.file), spec, bands=bands)
    if cfg.url:
        raise WeightsError(f"{spec.name}: bring {cfg.url} here and give it as file=..., not url=")
    return released(spec, cache_dir=cache_dir)


def from_file(
    path: Path, spec: Spec, *, source: str | None = None, bands: BandSet | None = None
) -> Backbone:
    """The weights in a file of any of the layouts that `deo.models.convert` knows.

    Args:
        path: the file.
        spec: the backbone that they must fit.
        source: for the record; default `file:` and the file's name.
        bands: what the file's multispectral stem takes, where the file does not say.

    Raises:
        WeightsError: unreadable, damaged, of another model, or not whole.
    """
    stored = files.read(path)
    said = stored.metadata or {}
    if said.get("model", spec.name) != spec.name:
        raise WeightsError(
            f"{path} holds weights of {said['model']}, not of {spec.name}; "
            f"name that model, or give a file made for {spec.name}"
        )
    record = WeightsRecord(
        model=spec.name,
        source=source or f"file:{path.name}",
        sha256=files.sha256(path),
        contract=json.loads(said["contract"]) if "contract" in said else None,
    )
    if "bands" in said:
        bands = BandSet.parse(said["bands"])
    try:
        return from_state_dict(stored.content, spec, record=record, bands=bands)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def from_state_dict(
    content: Mapping[str, Any], spec: Spec, *, record: WeightsRecord, bands: BandSet | None = None
) -> Backbone:
    """Check and rename a state dict or training checkpoint.

    Under our own names a file may also hold a classifier, lack the last norm (a `features_only`
    model has none), and have a multispectral stem of another width.

    Raises:
        WeightsError: it is not a whole backbone of this spec.
    """
    expected = dict(shapes(spec))
    if not convert.is_published(content):
        expected = _with_liberties(expected, content)
    tensors = convert.to_deo(content, expected, model=spec.name).tensors
    width = _width(tensors)
    if bands is None and width in (None, len(MODEL_BANDS)):
        bands = MODEL_BANDS
    if bands is not None and width not in (None, len(bands)):
        raise WeightsError(f"the multispectral stem takes {width} channels, not {bands}")
    return Backbone(tensors=tensors, bands=bands, record=record)


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
    inner = getattr(model, "model", model)  # features_only wraps the network
    assert isinstance(inner, nn.Module)
    own: dict[str, torch.Tensor] = inner.state_dict()
    chosen = {name: tensor for name, tensor in backbone.tensors.items() if name in own}
    if bands is None and _width(own) == len(MODEL_BANDS):
        bands = MODEL_BANDS
    if _MS_WEIGHT in chosen and bands is not None and bands != backbone.bands:
        chosen[_MS_WEIGHT] = chosen[_MS_WEIGHT][:, _positions(bands, backbone)]
    for name, tensor in own.items():
        if name.startswith(_HEAD) and _differs(chosen.get(name), tensor):
            chosen[name] = tensor
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
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
    given = getattr(inner.patch_embed, "bands", None)
    record = WeightsRecord(model=spec.name, source="untrained")
    bands = BandSet(given) if given else None
    found = from_state_dict(inner.state_dict(), spec, record=record, bands=bands)
    said = {"model": spec.name, "deo_version": installed.version("deo")} | (metadata or {})
    if found.bands is not None:
        said["bands"] = str(found.bands)
    if contract is not None:
        said["contract"] = json.dumps(contract)
    files.write(found.tensors, Path(path), said)


def _with_liberties(
    expected: dict[str, convert.Shape], content: Mapping[str, Any]
) -> dict[str, convert.Shape]:
    found = {n: tuple(t.shape) for n, t in content.items() if isinstance(t, torch.Tensor)}
    expected = expected | {n: shape for n, shape in found.items() if n.startswith(_HEAD)}
    if not any(name.startswith("norm.") for name in found):
        expected = {n: shape for n, shape in expected.items() if not n.startswith("norm.")}
    if len(found.get(_MS_WEIGHT, ())) == 4:
        dim, _, *patch = expected[_MS_WEIGHT]
        expected[_MS_WEIGHT] = (dim, found[_MS_WEIGHT][1], *patch)
    return expected


def _weights_in(folder: Path) -> Path:
    for name in hub.SAVED_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder} holds no weights; looked for {' and '.join(hub.SAVED_NAMES)}")


def _bands_of(backbone: Backbone) -> BandSet | None:
    return backbone.bands if _MS_WEIGHT in backbone.tensors else RGB_BANDS


def _positions(bands: BandSet, backbone: Backbone) -> list[int]:
    if backbone.bands is None:
        raise WeightsError(f"the weights do not say which bands they take; cannot choose {bands}")
    try:
        return list(bands.positions_in(backbone.bands.names))
    except BandError as error:
        raise WeightsError(
            f"these weights were not made for the bands asked for: {error}"
        ) from error


def _width(tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Channels of the multispectral stem, or None where there is no such stem."""
    return tensors[_MS_WEIGHT].shape[1] if _MS_WEIGHT in tensors else None


def _differs(found: torch.Tensor | None, wanted: torch.Tensor) -> bool:
    return found is None or found.shape != wanted.shape


def _unwrapped(model: nn.Module) -> Any:
    for attribute in ("_orig_mod", "module", "model"):
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return model
