"""What a pretraining run is: a tree of frozen sections, each checked when it is made.

`deo.training.settings` reads and writes it as TOML; `deo.training.recipes` holds ready ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deo.errors import ConfigError

Preset = Literal["default", "original"]


def _require(section: str, **checks: tuple[Any, bool, str]) -> None:
    """Refuse the first value whose condition is false, saying what was wanted."""
    for name, (value, fine, wanted) in checks.items():
        if not fine:
            raise ConfigError(f"{section}.{name} is {value!r}; it must be {wanted}")


@dataclass(frozen=True, kw_only=True)
class Model:
    """The student and its heads.

    Args:
        name: a `deo_*` backbone.
        options: passed to `timm.create_model`, e.g. `img_size`, `patch_size`, `window_size`.
        input: what the student and its EMA teacher agree about: all ten bands (`ms`) or red, green
            and blue alone (`rgb`). With `ms`, an optical teacher adds the RGB stem.
        drop_path: stochastic depth of the last block, growing from 0 in the first.
        head_hidden: width inside every projection head.
        z: width of the embedding that the coding rate sees.
        checkpointing: recompute activations in the backward pass: less memory, a third slower.
    """

    name: str = "deo_swin_t"
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Literal["ms", "rgb"] = "ms"
    drop_path: float = 0.0
    head_hidden: int = 2048
    z: int = 256
    checkpointing: bool = False

    def __post_init__(self) -> None:
        _require(
            "model",
            drop_path=(self.drop_path, 0 <= self.drop_path < 1, "in 0..1, below 1"),
            head_hidden=(self.head_hidden, self.head_hidden > 0, "positive"),
            z=(self.z, self.z > 1, "at least 2"),
        )


@dataclass(frozen=True, kw_only=True)
class Optical:
    """The frozen optical teacher.

    Args:
        name: a row of `deo.training.method.optical_table.OPTICAL_TEACHERS`, a timm model, a
            `deo_*` backbone, or `none` for self-distillation alone.
        weights: a file for a `deo_*` teacher, as `deo export` writes it.
        pretrained: False leaves the teacher at random: for tests and dry runs.
        options: passed to `timm.create_model`, e.g. `img_size`.
        precision: of the teacher's weights and arithmetic.
    """

    name: str = "none"
    weights: str | None = None
    pretrained: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["auto", "bf16", "fp32"] = "auto"


@dataclass(frozen=True, kw_only=True)
class Views:
    """Two global views and several local ones; see `deo.training.method.views`.

    Args:
        global_size, local_size: side in pixels.
        local_crops: number of local views.
        global_area, local_area: smallest and largest part of the image that a crop covers.
        vertical_flip: probability; the published run flips horizontally only.
        common_gain, band_gain: random gains of the bands other than RGB, jointly and one by one.
        colour: strength of the operations on red, green and blue, a part of the published.
    """

    global_size: int = 224
    local_size: int = 96
    local_crops: int = 10
    global_area: tuple[float, float] = (0.4, 1.0)
    local_area: tuple[float, float] = (0.05, 0.4)
    vertical_flip: float = 0.0
    common_gain: float = 0.0
    band_gain: float = 0.0
    colour: float = 1.0

    def __post_init__(self) -> None:
        def share(area: tuple[float, float]) -> bool:
            return len(area) == 2 and 0 < area[0] <= area[1] <= 1

        _require(
            "views",
            global_size=(self.global_size, self.global_size > 0, "positive"),
            local_size=(self.local_size, self.local_size > 0, "positive"),
            local_crops=(self.local_crops, self.local_crops >= 0, "0 or more"),
            global_area=(self.global_area, share(self.global_area), "two shares, 0 < a <= b <= 1"),
            local_area=(self.local_area, share(self.local_area), "two shares, 0 < a <= b <= 1"),
            vertical_flip=(self.vertical_flip, 0 <= self.vertical_flip <= 1, "in 0..1"),
            colour=(self.colour, 0 <= self.colour <= 1, "in 0..1"),
        )


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Terms of the objective: -coeff comp - expansion expa - alpha (patch + cls).

    Args:
        eps: distortion that the coding rate allows.
        coeff: weight of the agreement with the EMA teacher.
        expansion: weight of the coding rate; 0 lets the embedding collapse.
        student_only: expand the student's embedding, not its mean with the teacher's.
        alpha: weight of the optical distillation; .5 is what the published run has.
    """

    eps: float = 0.05
    coeff: float = 1.0
    expansion: float = 1.0
    student_only: bool = False
    alpha: float = 0.5

    def __post_init__(self) -> None:
        _require(
            "loss",
            eps=(self.eps, self.eps > 0, "positive"),
            coeff=(self.coeff, self.coeff >= 0, "0 or more"),
            expansion=(self.expansion, self.expansion >= 0, "0 or more"),
            alpha=(self.alpha, self.alpha >= 0, "0 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class Direct:
    """Direct distillation in the place of the published one; see `deo.training.method.direct`.

    Both stems answer, through linear heads, and the optical teacher sees whole samples without
    augmentation: a view is compared with the part on which it lies. Off in both presets.

    Args:
        maximum: digital numbers that are white to the optical teacher; 0 switches all of this off.
        enlarge: the optical teacher sees samples so many times as large.
        keep: hold the optical teacher's maps of every sample in memory after the first pass.
        finer: the stages before the last two answer, not the last two.
        similarity: weight of the similarities between views.
        statistics: weight of the band statistics.
    """

    maximum: float = 0.0
    enlarge: float = 2.0
    keep: bool = False
    finer: bool = False
    similarity: float = 0.0
    statistics: float = 0.0

    def __post_init__(self) -> None:
        _require(
            "direct",
            maximum=(self.maximum, self.maximum >= 0, "0 or more"),
            enlarge=(self.enlarge, self.enlarge > 0, "positive"),
            similarity=(self.similarity, self.similarity >= 0, "0 or more"),
            statistics=(self.statistics, self.statistics >= 0, "0 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class Optim:
    """AdamW and its schedules, all cosines over the whole run.

    Args:
        lr: peak learning rate for 256 samples per step; it grows with the batch.
        min_lr: learning rate at the end, whatever the batch.
        warmup_epochs: linear warm-up from 0.
        warmup_steps: the same in steps; takes the place of `warmup_epochs`.
        betas, eps: as in PyTorch.
        weight_decay, weight_decay_end: at the start and the end.
        clip: largest gradient norm; 0 does not clip.
        momentum, momentum_end: of the EMA teacher, at the start and the end.
    """

    lr: float = 5e-4
    min_lr: float = 1e-6
    warmup_epochs: float = 10.0
    warmup_steps: int | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    clip: float = 3.0
    momentum: float = 0.996
    momentum_end: float = 1.0

    def __post_init__(self) -> None:
        steps = self.warmup_steps
        _require(
            "optim",
            lr=(self.lr, self.lr > 0, "positive"),
            min_lr=(self.min_lr, self.min_lr >= 0, "0 or more"),
            warmup_epochs=(self.warmup_epochs, self.warmup_epochs >= 0, "0 or more"),
            warmup_steps=(steps, steps is None or steps >= 0, "0 or more"),
            betas=(self.betas, all(0 <= b < 1 for b in self.betas), "two numbers in 0..1, below 1"),
            eps=(self.eps, self.eps > 0, "positive"),
            weight_decay=(self.weight_decay, self.weight_decay >= 0, "0 or more"),
            weight_decay_end=(self.weight_decay_end, self.weight_decay_end >= 0, "0 or more"),
            clip=(self.clip, self.clip >= 0, "0 or more"),
            momentum=(self.momentum, 0 <= self.momentum <= 1, "in 0..1"),
            momentum_end=(self.momentum_end, 0 <= self.momentum_end <= 1, "in 0..1"),
        )


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Departures and faults of the published training code: True does as the original did.

    `docs/method.md` says of each what it does and why one would mend it.

    Args:
        swapped_layers: ViT's late map is compared with the optical teacher's middle layer and its
            middle map with the last one.
        teacher_drop_path: the EMA teacher runs with stochastic depth.
        optical_view_statistics: the optical teacher sees the student's normalisation, not its own.
        subset_per_rank: every rank draws its own part of the data; some is seen twice, some never.
        equal_draws: every rank draws the same augmentation, by place in the batch.
        local_gram: each process expands its own samples, divided by the number of processes.
        gram_autocast: the Gram matrix is rounded like the network's activations.
        clip_per_parameter: each parameter's gradient is clipped by its own norm.
        decay_tables: relative position tables, positional embeddings and class tokens are decayed.
        ignore_alpha: `loss.alpha` is read nowhere; the weight is .5.
        cls_other_views: the class distillation leaves out pairs of the same view (the paper's
            objective, so True in both presets).
    """

    swapped_layers: bool = False
    teacher_drop_path: bool = False
    optical_view_statistics: bool = False
    subset_per_rank: bool = False
    equal_draws: bool = False
    local_gram: bool = False
    gram_autocast: bool = False
    clip_per_parameter: bool = False
    decay_tables: bool = False
    ignore_alpha: bool = False
    cls_other_views: bool = True

    @classmethod
    def preset(cls, name: str) -> "Switches":
        """All switches as the published code has them (`original`), or mended (`default`).

        Raises:
            ConfigError: there is no such preset.
        """
        if name == "default":
            return cls()
        if name == "original":
            return cls(**dict.fromkeys(cls.__dataclass_fields__, True))
        raise ConfigError(f"unknown preset {name!r} of the switches; it is default or original")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where samples come from; see `deo.training.data.samples`.

    Args:
        source: shards, an HDF5 file, tars or a folder of scenes; the command line's `--data`.
        split: how much of it is used: a part in (0, 1], or a number of samples.
        size: side of the cuts, where scenes are cut on the fly.
        valid: part of such a cut that must hold data.
    """

    source: str = ""
    split: float = 1.0
    size: int = 96
    valid: float = 0.9

    def __post_init__(self) -> None:
        _require(
            "data",
            split=(self.split, self.split > 0, "a part in (0, 1] or a number of samples"),
            size=(self.size, self.size > 0, "positive"),
            valid=(self.valid, 0 <= self.valid <= 1, "in 0..1"),
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """How the run goes.

    Args:
        epochs: passes over the data.
        steps: optimiser steps in all; takes the place of `epochs`.
        batch_size: samples per process and step.
        seed: of weights, order and augmentation.
        device: `auto` is CUDA where there is one.
        precision: of the student; `auto` is bf16 on CUDA devices that have it, else fp32.
        compile: compile each block of the trunks.
        strategy: how several processes share the student: copies (`ddp`) or shards (`fsdp`).
        workers: processes that read samples.
        log_every: steps between records.
        checkpoint_every: steps between checkpoints; None: once per epoch.
        keep: checkpoints that are kept; two at least, so that a damaged one has one before it.
    """

    epochs: int = 100
    steps: int | None = None
    batch_size: int = 64
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    compile: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    workers: int = 4
    log_every: int = 10
    checkpoint_every: int | None = None
    keep: int = 3

    def __post_init__(self) -> None:
        every, steps = self.checkpoint_every, self.steps
        _require(
            "run",
            epochs=(self.epochs, self.epochs > 0, "positive"),
            steps=(steps, steps is None or steps > 0, "positive"),
            batch_size=(self.batch_size, self.batch_size > 0, "positive"),
            seed=(self.seed, 0 <= self.seed < 2**32, "in 0..2^32"),
            workers=(self.workers, self.workers >= 0, "0 or more"),
            log_every=(self.log_every, self.log_every > 0, "positive"),
            checkpoint_every=(every, every is None or every > 0, "positive"),
            keep=(self.keep, self.keep > 0, "positive"),
        )


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What is watched and where it is written; `metrics.jsonl` always is.

    Args:
        tensorboard, wandb: further places.
        nonfinite_limit: steps in a row without a finite gradient after which the run stops.
        collapse_cosine: a head cosine above this raises the collapse alarm.
        collapse_rank: so does an effective rank below this part of the largest possible one.
        probe: a labelled data set for the kNN probe; see `deo.training.tasks.frozen`.
        probe_every: epochs between probes.
    """

    tensorboard: bool = False
    wandb: bool = False
    nonfinite_limit: int = 10
    collapse_cosine: float = 0.8
    collapse_rank: float = 0.05
    probe: str | None = None
    probe_every: int = 5

    def __post_init__(self) -> None:
        _require(
            "monitor",
            nonfinite_limit=(self.nonfinite_limit, self.nonfinite_limit > 0, "positive"),
            probe_every=(self.probe_every, self.probe_every > 0, "positive"),
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole pretraining run."""

    model: Model = field(default_factory=Model)
    optical: Optical = field(default_factory=Optical)
    views: Views = field(default_factory=Views)
    loss: Loss = field(default_factory=Loss)
    direct: Direct = field(default_factory=Direct)
    optim: Optim = field(default_factory=Optim)
    switches: Switches = field(default_factory=Switches)
    data: Data = field(default_factory=Data)
    run: Run = field(default_factory=Run)
    monitor: Monitor = field(default_factory=Monitor)

    def with_preset(self, name: Preset) -> "Config":
        """The same run with all switches of a preset."""
        return replace(self, switches=Switches.preset(name))
