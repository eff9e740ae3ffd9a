"""What timm calls: builds a backbone by name and, if asked, fills every tensor of it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from timm.layers.helpers import to_2tuple
from timm.models import (
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
    resolve_pretrained_cfg,
)
from torch import nn

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import ModelError
from deo.models import convert, timm_config, weights
from deo.models.forking import compute_alone_when_forked
from deo.models.registry import SPECS, Spec
from deo.models.sources import Backbone
from deo.models.stems import DUAL, MS, RGB, stem_widths


def _create(
    spec: Spec,
    pretrained: bool,
    *,
    backbone: Backbone | None = None,
    cache_dir: str | Path | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a backbone for timm: the one place where a model of ours is made and filled.

    Args:
        spec: the backbone.
        pretrained: fill it with the weights that its configuration names.
        backbone: weights that the caller has already read (`load_backbone`), to fill it with.
        cache_dir: instead of the Hub's own cache folder.
        kwargs: of `timm.create_model`.

    Raises:
        ModelError: `in_chans` or `bands` cannot be had from the pretrained stems.
        WeightsError: weights were asked for and cannot be found, or do not fit.
    """
    compute_alone_when_forked()
    cfg = resolve_pretrained_cfg(
        spec.name, kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None)
    )
    saved = kwargs.pop("pretrained_model_args", None) or {}  # how an exported model was built
    if not saved:
        saved = timm_config.noted(cfg)
        kwargs = saved | kwargs
    note = timm_config.note(kwargs)
    in_chans, bands = _stem_said(kwargs.pop("in_chans", None), kwargs.pop("bands", None), saved)
    widths = stem_widths(in_chans, bands.names if bands else None)
    native = _as_saved(spec, saved) if pretrained else spec
    if pretrained:
        fills = DUAL.items() >= widths.items() or bands or in_chans == saved.get("in_chans")
        if not (fills or timm_config.given_file(cfg, spec) or cfg.state_dict):
            raise ModelError(_choices(spec, in_chans))
        stored = _band_set(saved.get("bands"))
        backbone = timm_config.weights_of(native, cfg, bands=stored, cache_dir=cache_dir)
    cfg = timm_config.described(cfg, widths, bands, note=note)
    built: Any = build_model_with_cfg(
        partial(_filled, native, backbone, named=bands, pruned=kwargs.get("features_only", False)),
        spec.name,
        False,  # `_filled` loads: timm is not strict where there is a new classifier
        pretrained_cfg=cast(Any, cfg),
        feature_cfg={"out_indices": spec.out_indices, "feature_cls": "getter"},
        in_chans=in_chans,
        bands=bands.names if bands else None,
        **{"img_size": native.img_size, **spec.args, **kwargs},
    )
    # timm's `checkpoint_path` loads past us: published names get an answer that says what to do
    built.register_load_state_dict_pre_hook(convert.refuse_published)
    return cast(nn.Module, built)


def _filled(
    spec: Spec,
    backbone: Backbone | None,
    *,
    named: BandSet | None,
    pruned: bool,
    img_size: int | tuple[int, int],
    **args: Any,
) -> nn.Module:
    """The whole network, before timm prunes it to the layers asked for.

    Args:
        spec: the backbone, at the size that its weights are for.
        backbone: its weights, or None for random ones.
        named: bands of the multispectral stem, where the caller names them.
        pruned: timm will take the last norm away, so the weights may lack it.
        img_size, args: of the network.
    """
    # positions and tables are resampled after loading: the weights have those of their own size
    size = img_size if backbone is None else spec.img_size
    model = cast(Any, spec.build)(img_size=size, **args)
    if named:
        model.bands = named.names  # `save_weights` writes them down
    if backbone is not None:
        if pruned and not backbone.has_norm:
            model.norm = nn.Identity()
        weights.fill(model, backbone, bands=named)
        if to_2tuple(img_size) != to_2tuple(size):
            model.set_input_size(img_size=to_2tuple(img_size))
    return cast(nn.Module, model)


def _band_set(bands: str | Iterable[str] | None) -> BandSet | None:
    if bands is None:
        return None
    return BandSet.parse(bands) if isinstance(bands, str) else BandSet(bands)


def _stem_said(
    in_chans: int | None, bands: str | Iterable[str] | None, saved: Mapping[str, Any]
) -> tuple[int | None, BandSet | None]:
    """The stem that the caller asks for; what is left out is as in the exported model."""
    wanted, stored = _band_set(bands), _band_set(saved.get("bands"))
    if wanted != stored:
        return (None if in_chans == saved.get("in_chans") else in_chans), wanted
    return in_chans, wanted if in_chans == saved.get("in_chans") else None


def _as_saved(spec: Spec, saved: Mapping[str, Any]) -> Spec:
    """The spec with the size and shape under which a model was exported."""
    if not saved:
        return spec
    args = {name: saved.get(name, value) for name, value in spec.args.items()}
    return dataclasses.replace(spec, img_size=saved.get("img_size", spec.img_size), args=args)


def _choices(spec: Spec, in_chans: int | None) -> str:
    return (
        f"{spec.name} is pretrained for in_chans={DUAL[MS]} ({MODEL_BANDS}) and "
        f"in_chans={DUAL[RGB]} ({RGB_BANDS}), not for {in_chans}. Choose one of these, leave "
        "in_chans out for both, name the bands of your stem, bands=('B04', 'B03', ...), or "
        "build it untrained with pretrained=False"
    )


default_cfgs = generate_default_cfgs(
    {
        f"{spec.name}.{spec.tag}".rstrip("."): timm_config.default_cfg(spec)
        for spec in SPECS.values()
    }
)


def _entry_point(spec: Spec) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        return _create(spec, pretrained, **kwargs)

    create.__name__ = spec.name
    create.__doc__ = f"{spec.name}; see `deo.models.registry.SPECS`."
    return create


for _spec in SPECS.values():
    globals()[_spec.name] = register_model(_entry_point(_spec))
