"""timm's configuration of a pretrained model: its weights, its input, and how it was built."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from timm.layers.helpers import to_2tuple
from timm.models import PretrainedCfg

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, BandSet
from deo.errors import WeightsError
from deo.files.documents import parse_json
from deo.models import hub
from deo.models.registry import Spec
from deo.models.sources import Backbone, WeightsRecord, from_file, from_state_dict, released
from deo.models.stems import DUAL, MS
from deo.models.swin import DeoSwin

_NOTE = "built with "
_NOT_NOTED = {
    "device", "dtype", "features_only", "feature_cls", "out_indices", "num_classes", "drop_rate",
    "drop_path_rate",
}  # fmt: skip
"""Arguments that do not change which tensors a model has."""


def tagged_name(spec: Spec) -> str:
    """`deo_swin_b.fmow`: the name under which timm lists the weights of a backbone."""
    return f"{spec.name}.{spec.tag}".rstrip(".")


def default_cfg(spec: Spec) -> dict[str, Any]:
    """What timm is told of a backbone when it is registered."""
    height, width = to_2tuple(spec.img_size)
    swin = spec.build is DeoSwin
    cfg = {
        "input_size": (DUAL[MS], height, width),
        "num_classes": 0,
        "pool_size": (height // 32, width // 32) if swin else None,
        "crop_pct": 1.0,
        "first_conv": None,  # timm must not adapt the stems
        "classifier": "head.fc" if swin else "head",
        "license": spec.licence,
        "paper_ids": "arXiv:2602.19863",
        **_statistics(DUAL, None),
    }
    if spec.embedded is not None:
        cfg["file"] = spec.embedded
    if spec.published is not None:
        cfg["hf_hub_id"] = f"{spec.published.repo}@{spec.published.revision}"
        cfg["hf_hub_filename"] = spec.published.filename
    return cfg


def described(
    cfg: PretrainedCfg, widths: Mapping[str, int], bands: BandSet | None, *, note: tuple[str, ...]
) -> PretrainedCfg:
    """Make a configuration say what the first stem takes, for `resolve_model_data_config`.

    Args:
        cfg: of the backbone.
        widths: stem name to number of channels.
        bands: of the multispectral stem, where the caller names them.
        note: how the model was built, from `note`.
    """
    cfg = dataclasses.replace(cfg, notes=cast(Any, note))
    width = next(iter(widths.values()))
    if bands is None and cfg.input_size[0] == width:
        return cfg
    size = (width, *cfg.input_size[1:])
    return dataclasses.replace(cfg, input_size=size, **_statistics(widths, bands))


def _statistics(widths: Mapping[str, int], bands: BandSet | None) -> dict[str, Any]:
    """Mean and standard deviation of a stem's channels.

    Of digital numbers for the multispectral stem and of 0..1 for the red-green-blue one; zero
    and one where the channels have no names.
    """
    if MS not in widths:
        return {"mean": AERIAL_MEAN, "std": AERIAL_STD}
    if bands is None and widths[MS] != len(MODEL_BANDS):
        return {"mean": (0.0,) * widths[MS], "std": (1.0,) * widths[MS]}
    named = bands or MODEL_BANDS
    return {"mean": named.mean, "std": named.std}


def note(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """How a model is built, for its configuration, so that a model exported by timm comes back."""
    args = {name: value for name, value in kwargs.items() if name not in _NOT_NOTED}
    return (_NOTE + json.dumps(args, default=str),) if args else ()


def noted(cfg: PretrainedCfg) -> dict[str, Any]:
    """What `note` wrote into an exported configuration; timm keeps this from 1.0.31 on."""
    if cfg.source not in ("local-dir", "hf-hub"):
        return {}
    notes = [text for text in cfg.notes or () if text.startswith(_NOTE)]
    if not notes:
        return {}
    return cast(dict[str, Any], parse_json(notes[0].removeprefix(_NOTE), "the model's config"))


def weights_of(
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
    file = given_file(cfg, spec)
    given = cfg.state_dict or file
    if cfg.source == "hf-hub" or (cfg.hf_hub_id and not given and not _is_own(cfg, spec)):
        fetched = hub.fetch_saved(str(cfg.hf_hub_id), cfg.hf_hub_filename, cache_dir=cache_dir)
        return from_file(fetched.path, spec, source=fetched.source, bands=bands)
    if cfg.state_dict:
        record = WeightsRecord(model=spec.name, source="state_dict")
        return from_state_dict(cfg.state_dict, spec, record=record, bands=bands)
    if file:
        return from_file(Path(file), spec, bands=bands)
    if cfg.url:
        raise WeightsError(f"{spec.name}: bring {cfg.url} here and give it as file=..., not url=")
    return released(spec, cache_dir=cache_dir)


def given_file(cfg: PretrainedCfg, spec: Spec) -> str | None:
    """The file that an overlay put into a configuration; the embedded one is none of those."""
    return None if cfg.file == spec.embedded else cfg.file


def _is_own(cfg: PretrainedCfg, spec: Spec) -> bool:
    """Whether a configuration names the released file, not one that an overlay put there."""
    published = spec.published
    return published is not None and (cfg.hf_hub_id, cfg.hf_hub_filename) == (
        f"{published.repo}@{published.revision}",
        published.filename,
    )


def _weights_in(folder: Path) -> Path:
    for name in hub.SAVED_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(f"{folder} holds no weights; looked for {' and '.join(hub.SAVED_NAMES)}")
