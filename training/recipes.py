"""Whole runs as functions. Each says its hardware, its time and what to expect of it.

Numbers stand here only when they were measured with this code.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType

from deo.errors import ConfigError
from deo.training.config import Config, Optim, Run
from deo.training.method.config import Direct, Loss, Model, Optical, Views

_DINOV3 = Optical(name="dinov3_base")
_SMALL_VIEWS = Views(
    global_size=48,
    local_size=24,
    local_crops=4,
    global_area=(0.25, 1.0),
    local_area=(0.04, 0.4),
    vertical_flip=0.5,
    common_gain=0.15,
    band_gain=0.05,
)
"""From samples of 64 pixels: a global crop covers 32 to 64 of them, about EuroSAT's own scale."""
_SMALL_OPTIM = Optim(lr=6e-3, momentum=0.99, warmup_steps=40, weight_decay_end=0.2)


def swin_t() -> Config:
    """The published run: Swin-T, DINOv3 base as optical teacher, 500 000 samples, 100 epochs.

    Hardware: 4 GPUs, 64 samples each (`torchrun --nproc-per-node 4`). Time and accuracy of this
    code: not measured; the published ones need fMoW-Sentinel with fMoW-RGB.
    """
    return Config(
        model=Model(name="deo_swin_t", drop_path=0.2),
        optical=_DINOV3,
    )


def swin_b() -> Config:
    """Swin-B with windows of 12, as the public weights have it; else as `swin_t`.

    Hardware: 4 GPUs, 64 samples each. Time and accuracy of this code: not measured.
    """
    return Config(
        model=Model(name="deo_swin_b", drop_path=0.5),
        optical=_DINOV3,
    )


def vit_b() -> Config:
    """ViT-B with patches of 8, as the public weights have it; else as `swin_t`.

    Hardware: 4 GPUs, 64 samples each, activations recomputed. Time and accuracy of this code: not
    measured.
    """
    return Config(
        model=Model(name="deo_vit_b", checkpointing=True),
        optical=_DINOV3,
    )


def micro() -> Config:
    """A few thousand parameters on one CPU core, self-distillation alone: to see a run go by.

    Hardware: any; a step of 8 samples takes a fraction of a second. Expect a loss that falls and a
    head cosine near 0; the features are of no use.
    """
    return Config(
        model=Model(name="test_deo_swin", head_hidden=64, z=32),
        views=Views(global_size=64, local_size=32, local_crops=2),
        optim=Optim(lr=2e-2, warmup_epochs=0.0, warmup_steps=10),
        run=Run(
            epochs=4, batch_size=8, workers=2, device="cpu", precision="fp32", checkpoint_every=50
        ),
    )


def embedded_rgb() -> Config:
    """First stage of the embedded `deo_swin_n`: red, green and blue by self-distillation alone.

    No optical foundation model can be fetched where it is trained, so it makes its own teacher.
    Hardware: one CPU core. Expect a head cosine that falls from .8 to about .7, slowly: the colour
    operations are hard on small views, so the compression weighs four times the published.
    """
    return Config(
        model=Model(name="deo_swin_n", input="rgb", head_hidden=512, z=128),
        views=_SMALL_VIEWS,
        loss=Loss(eps=0.5, coeff=4.0),
        optim=_SMALL_OPTIM,
        run=Run(
            steps=500,
            batch_size=48,
            workers=0,
            device="cpu",
            precision="fp32",
            checkpoint_every=250,
        ),
    )


def embedded() -> Config:
    """Second stage of `deo_swin_n`: dual-teacher, the first stage's model as optical teacher.

    Give that with `--set optical.weights=FILE`; `examples/train_embedded.py` does both.
    Hardware: one CPU core. A batch comes from many scenes (shards are shuffled whole): batches of
    one scene destroy the features.
    """
    first = embedded_rgb()
    return replace(
        first,
        model=replace(first.model, input="ms"),
        optical=Optical(name="deo_swin_n"),
        loss=Loss(eps=0.5, coeff=3.0),
        run=replace(first.run, steps=1300),
    )


def embedded_direct() -> Config:
    """Direct distillation of a `deo_swin_n` from EfficientNet-Lite; see `docs/deo_swin_n.md`.

    Its samples are cuts of 96 pixels at 10 m, of which a view covers 48 to 80. With
    `model.weights` the student does not start at random. Hardware: one CPU core, about five
    minutes where it is free. Expect no more than the embedded model has.
    """
    return Config(
        model=Model(name="deo_swin_n", head_hidden=256, z=128),
        optical=Optical(name="efficientnet_lite0"),
        views=Views(
            global_size=64,
            local_crops=0,
            global_area=(0.25, 0.7),
            vertical_flip=0.5,
            common_gain=0.1,
            band_gain=0.05,
            colour=0.25,
        ),
        loss=Loss(eps=0.5, coeff=0.0, expansion=0.0, alpha=1.0),
        direct=Direct(maximum=3000.0, keep=True, finer=True, similarity=4.0, statistics=1.0),
        optim=Optim(
            lr=1.2e-2, momentum=0.99, warmup_steps=60, weight_decay=0.05, weight_decay_end=0.05
        ),
        run=Run(
            steps=500,
            batch_size=32,
            workers=0,
            device="cpu",
            precision="fp32",
            checkpoint_every=150,
        ),
    )


RECIPES: Mapping[str, Callable[[], Config]] = MappingProxyType(
    {
        recipe.__name__: recipe
        for recipe in (swin_t, swin_b, vit_b, micro, embedded_rgb, embedded, embedded_direct)
    }
)


def recipe(name: str) -> Config:
    """The configuration of a recipe.

    Raises:
        ConfigError: there is no such recipe; the message lists the known ones.
    """
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"unknown recipe {name!r}; {hint}known are {', '.join(RECIPES)}")
    return RECIPES[name]()
