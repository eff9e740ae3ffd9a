"""Everything that a run carries from step to step, built from its configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deo.errors import ConfigError
from deo.models.registry import spec_of
from deo.models.sources import from_file
from deo.models.weights import fill
from deo.training.config import Config
from deo.training.method.clean import CleanTeacher
from deo.training.method.ema import Average, EmaTeacher
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalTeacher, build_optical_teacher
from deo.training.method.student import Student
from deo.training.method.views import make_views
from deo.training.method.viewspecs import view_specs
from deo.training.run.distributed import Context, shard, share
from deo.training.run.optim import build_optimizer
from deo.training.run.schedules import Cosine, Schedules

REFERENCE_BATCH = 256
"""Samples per step for which `optim.lr` is meant."""

ViewMaker = Callable[[Tensor, Tensor, int], Sequence[Tensor]]
"""Images (B, C, H, W), keys (B,) and epoch -> normalised views, the two global ones first."""


@dataclass(kw_only=True)
class State:
    """A run between two steps.

    Args:
        config: the run.
        context: this process among all.
        student: the module that is trained.
        model: the student as it is called: itself, or wrapped for several processes.
        teacher: its EMA teacher.
        average: moves the teacher towards the student.
        optical: the frozen optical teacher, or None.
        clean: the same under direct distillation, as it sees whole samples; else None.
        optimizer: of the student.
        scaler: of fp16 gradients; disabled otherwise.
        dtype: of autocast; None computes in fp32.
        schedules: step -> rates.
        views: makes the views of a batch.
        steps_per_epoch: optimiser steps in one pass over the data.
        step: steps finished.
    """

    config: Config
    context: Context
    student: Student
    model: nn.Module
    teacher: EmaTeacher
    average: Average
    optical: OpticalTeacher | None
    clean: CleanTeacher | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    dtype: torch.dtype | None
    schedules: Schedules
    views: ViewMaker
    steps_per_epoch: int
    step: int = 0

    @property
    def epoch(self) -> int:
        """Passes over the data finished."""
        return self.step // self.steps_per_epoch

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.schedules.lr.steps

    def autocast(self) -> torch.autocast:
        """The context in which networks run; losses stay outside."""
        return torch.autocast(
            self.context.device.type, dtype=self.dtype, enabled=self.dtype is not None
        )

    def keys(self, samples: Tensor) -> Tensor:
        """What each sample's augmentation is drawn by: its number in the data.

        With the published fault, its place in this process's batch.
        """
        if not self.config.switches.equal_draws:
            return samples
        return self.step * len(samples) + torch.arange(len(samples))


def build(
    config: Config,
    context: Context,
    *,
    steps_per_epoch: int,
    optical: OpticalTeacher | None = None,
    views: ViewMaker | None = None,
) -> State:
    """Build networks, optimiser and schedules; the same weights in every process.

    Args:
        steps_per_epoch: optimiser steps in one pass over the data.
        optical: a teacher of your own, in the place of the configured one.
        views: a view maker of your own.

    Raises:
        ConfigError, ModelError, WeightsError: the configuration cannot be built.
    """
    optical = optical or build_optical_teacher(
        config.optical,
        device=context.device,
        view_statistics=config.switches.optical_view_statistics,
    )
    clean = _clean_teacher(config, context, optical, own_views=views is not None)
    networks = _networks(config, context, optical=None if optical is None else optical.widths)
    average = Average(networks.teacher, networks.student)
    average.update(0.0)  # the teacher starts as a copy of the student
    dtype = autocast_dtype(config.run.precision, context.device)
    return State(
        config=config,
        context=context,
        student=networks.student,
        model=networks.model,
        teacher=networks.teacher,
        average=average,
        optical=optical,
        clean=clean,
        optimizer=build_optimizer(
            networks.student, config.optim, decay_tables=config.switches.decay_tables
        ),
        scaler=torch.amp.GradScaler(context.device.type, enabled=dtype == torch.float16),
        dtype=dtype,
        schedules=build_schedules(
            config, steps_per_epoch=steps_per_epoch, world_size=context.world_size
        ),
        views=views or configured_views(config),
        steps_per_epoch=steps_per_epoch,
    )


def _clean_teacher(
    config: Config, context: Context, optical: OpticalTeacher | None, *, own_views: bool
) -> CleanTeacher | None:
    if not config.direct.maximum:
        return None
    if optical is None or config.model.input == "rgb":
        raise ConfigError(
            "direct.maximum asks for direct distillation, which needs an optical teacher and both "
            f"stems; got optical.name={config.optical.name!r}, model.input={config.model.input!r}"
        )
    if own_views:
        raise ConfigError(
            "direct.maximum asks for direct distillation, which has to know where on its sample a "
            "view lies; a view maker of your own does not say it: leave out one of the two"
        )
    return CleanTeacher(optical, config.direct, device=context.device)


class _Networks(NamedTuple):
    student: Student
    model: nn.Module
    teacher: EmaTeacher


def _networks(config: Config, context: Context, *, optical: Widths | None) -> _Networks:
    """Student, student as it is called, and EMA teacher, on the device and among the processes."""
    run, switches = config.run, config.switches
    torch.manual_seed(run.seed)  # the same weights in every process
    direct = config.direct if config.direct.maximum else None
    student = Student(config.model, optical=optical, swapped=switches.swapped_layers, direct=direct)
    if config.model.weights is not None:
        fill(student.trunk.net, from_file(Path(config.model.weights), spec_of(config.model.name)))
    teacher = EmaTeacher(config.model, stochastic=switches.teacher_drop_path)
    torch.manual_seed(run.seed + context.rank)  # stochastic depth differs from rank to rank
    student, teacher = student.to(context.device), teacher.to(context.device)
    if run.compile:
        compile_blocks([*student.trunk.blocks, *teacher.trunk.blocks])
    # sharding replaces parameters: the optimiser and the average are made of those that it leaves
    model = share(student, student.trunk.blocks, context, strategy=run.strategy)
    if run.strategy == "fsdp":
        shard(teacher, teacher.trunk.blocks, methods=["embed"])
    return _Networks(student, model, teacher)


def build_schedules(config: Config, *, steps_per_epoch: int, world_size: int) -> Schedules:
    """The schedules of a run; a warm-up longer than the run is cut to it.

    The learning rate grows with the samples per step.
    """
    optim, run = config.optim, config.run
    steps = run.steps or run.epochs * steps_per_epoch
    warmup = optim.warmup_steps
    if warmup is None:
        warmup = round(optim.warmup_epochs * steps_per_epoch)
    # linear, as the published run has it (0.0005 for 256 samples, so for 4 processes of 64)
    peak = optim.lr * run.batch_size * world_size / REFERENCE_BATCH
    return Schedules(
        lr=Cosine(base=peak, final=optim.min_lr, steps=steps, warmup=min(warmup, steps)),
        weight_decay=Cosine(base=optim.weight_decay, final=optim.weight_decay_end, steps=steps),
        momentum=Cosine(base=optim.momentum, final=optim.momentum_end, steps=steps),
    )


def configured_views(config: Config) -> ViewMaker:
    """The published views with the configuration's sizes, areas and gains."""
    specs = view_specs(config.views)

    def views(images: Tensor, keys: Tensor, epoch: int) -> Sequence[Tensor]:
        return make_views(images, keys, specs, seed=config.run.seed, epoch=epoch)

    return views


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """What autocast rounds to; None for fp32.

    Raises:
        ConfigError: the device lacks the type asked for.
    """
    has_bf16 = device.type == "cpu" or (
        device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    if precision == "auto":
        return torch.bfloat16 if has_bf16 and device.type != "cpu" else None
    if precision == "bf16" and not has_bf16:
        raise ConfigError(f"run.precision is bf16, which {device} lacks; use fp16 or fp32")
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def compile_blocks(blocks: Sequence[nn.Module]) -> None:
    """Compile each block in place, keeping the names of its parameters.

    Blocks share their code, so each stage, shift and view size is one entry of a common cache.
    """
    torch._dynamo.config.recompile_limit = max(
        torch._dynamo.config.recompile_limit, 8 * len(blocks)
    )
    for block in blocks:
        block.compile()
