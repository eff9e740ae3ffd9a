"""Backbones for downstream tasks: ours through strict loading, any other through timm."""

from pathlib import Path
from typing import Any

import timm
from torch import nn

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import ConfigError, ModelError
from deo.models.initial import SeededDraws
from deo.models.registry import SPECS, is_ours
from deo.models.sources import WeightsRecord
from deo.models.weights import LoadedBackbone, load_backbone

RAW_BANDS, BAND_STATISTICS = "raw-bands", "band-statistics"
BASELINES = (RAW_BANDS, BAND_STATISTICS)
"""Names that stand for no network at all."""


def open_backbone(
    name: str,
    *,
    bands: BandSet = MODEL_BANDS,
    weights: Path | None = None,
    untrained: bool = False,
    seed: int = 0,
) -> LoadedBackbone:
    """A network that returns a list of maps, finest first.

    Args:
        name: a backbone of ours, or any model of timm that gives maps.
        bands: channels of its input, in order.
        weights: a file, for ours only; None: the weights that belong to the name.
        untrained: random weights, drawn with `seed`.

    Raises:
        ModelError: there is no such model, or it gives no maps.
        WeightsError: there are no weights, or they do not fit.
        ConfigError: a weight file for a model that is not ours.
    """
    if is_ours(name):
        return load_backbone(name, weights=weights, untrained=untrained, bands=bands, seed=seed)
    if not timm.is_model(name.split(".")[0]):
        raise ModelError(
            f"unknown model {name!r}; choose one of {', '.join(SPECS)}, any other timm model, "
            f"{' or '.join(BASELINES)}"
        )
    if weights is not None:
        raise ConfigError(f"--weights loads backbones of deo; {name} is timm's own")
    with SeededDraws(seed):
        model = _from_timm(name, channels=len(bands), pretrained=not untrained)
    cfg: Any = getattr(model, "pretrained_cfg", None) or {}
    source = "untrained" if untrained else f"timm:{cfg.get('hf_hub_id') or cfg.get('url') or name}"
    return LoadedBackbone(model, bands, WeightsRecord(model=name, source=source))


def _from_timm(name: str, *, channels: int, pretrained: bool) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=pretrained, in_chans=channels, features_only=True
        )
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be downloaded ({error}); use --untrained without network"
        ) from error
    except (RuntimeError, AttributeError, TypeError, AssertionError) as error:
        raise ModelError(f"{name} gives no feature maps: {error}") from error
    return model


def input_side(model: nn.Module) -> int | None:
    """The only side that a model takes, or None when it takes any."""
    inner: Any = getattr(model, "model", model)
    cfg: Any = getattr(inner, "pretrained_cfg", None) or {}
    return int(cfg["input_size"][-1]) if cfg.get("fixed_input_size") else None
