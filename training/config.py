"""What a pretraining run is: a tree of frozen sections, each checked when it is made.

Here stand the sections of the run itself; those of the method are in `deo.training.method.config`.
`deo.training.settings` reads and writes it as TOML; `deo.training.recipes` holds ready ones.
"""

from dataclasses import dataclass, field
from typing import Literal

from deo.training.method.config import Direct, Loss, Model, Optical, Switches, Views, require


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
        require(
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
        require(
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
        require(
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
        require(
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
