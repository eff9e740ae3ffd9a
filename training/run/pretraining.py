"""A whole pretraining run from Python."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from deo.errors import ConfigError, OutputError
from deo.files.lock import claim
from deo.files.publish import make_folder, write_file
from deo.training import settings
from deo.training.config import Config
from deo.training.data.identity import samples_identity
from deo.training.data.loading import batches
from deo.training.data.order import Order
from deo.training.data.samples import Samples, open_samples
from deo.training.method.config import Optical
from deo.training.method.optical import OpticalTeacher
from deo.training.run import checkpoint as checkpoints
from deo.training.run import distributed
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.custom import Custom
from deo.training.run.flops import estimate_flops, peak_flops
from deo.training.run.journal import (
    METRICS_NAME,
    Journal,
    JsonLines,
    Sink,
    TensorBoard,
    WeightsAndBiases,
)
from deo.training.run.monitors import Collapse, CollapseAlarm, FiniteGuard, Speedometer
from deo.training.run.progress import Progress
from deo.training.run.saving import Inputs, Saver, refuse_changes, resume_from
from deo.training.run.state import State, ViewMaker, build
from deo.training.run.step import fit
from deo.training.run.stopping import StopRequest
from deo.training.run.watch import Watch
from deo.training.tasks.online import Probe, no_probe

CONFIG_NAME, TENSORBOARD_NAME = "config.toml", "tensorboard"

_JUDGED_AFTER = 0.1
"""The first part of a run, in which collapse is not judged: random weights embed all alike."""


class Prepared(NamedTuple):
    """A run before its first or next step."""

    state: State
    samples: Samples
    order: Order
    inputs: Inputs


def pretrain(
    config: Config,
    *,
    output: Path | str,
    data: Path | str | Samples | None = None,
    optical: OpticalTeacher | None = None,
    views: ViewMaker | None = None,
    resume: bool = True,
    progress: bool = True,
) -> State:
    """Pretrain until the last step, and go on from what `output` holds.

        config = deo.training.Config(run=Run(steps=2000))
        deo.training.pretrain(config, data="shards", output="runs/a", optical=MyTeacher())

    A teacher or view maker of your own is recorded by its name, a teacher by its licence and
    weights too, so that the run does not go on with another one. A `torch.nn.Module` is used as it
    is: move it to the device and freeze it beforehand.

    Args:
        config: the run.
        output: folder for checkpoints, metrics and the configuration.
        data: shards, an HDF5 file, tars or a folder of scenes in the place of `config.data.source`;
            or samples of your own.
        optical: an optical teacher of your own; `config.optical` is not used then.
        views: a view maker of your own: images (B, C, H, W), keys (B,) and epoch -> normalised
            views (B, C, s, s), the two global ones first.
        resume: False refuses a folder that holds checkpoints.
        progress: write a line for each record to standard error.

    Returns:
        The state after the last step; on every process, where there are several.

    Raises:
        DeoError: the data or the configuration cannot be used, the folder holds another run, or
            the run stopped itself.
        BusyError: another run is writing to `output`.
        Stopped: a signal ended the run. It is saved, and the same call goes on from there.
    """
    output, custom = Path(output), Custom(optical, views)
    if isinstance(data, Path | str):
        config, data = replace(config, data=replace(config.data, source=str(data))), None
    if optical is not None:  # the record names no teacher that took no part
        config = replace(config, optical=Optical())
    with distributed.connect(config.run.device) as context, contextlib.ExitStack() as stack:
        if context.main:
            stack.enter_context(claim(make_folder(output)))
            checkpoints.remove_unfinished(output / CHECKPOINTS_NAME)
        context.barrier()
        if not resume and checkpoints.saved(output / CHECKPOINTS_NAME):
            raise OutputError(f"{output} holds a run; choose another folder, or resume=True")
        prepared = prepare(config, output, context, data=data, custom=custom)
        if context.main:
            write_file(output / CONFIG_NAME, settings.dumps(config))
        _train(prepared, output, progress=progress)
        return prepared.state


def prepare(
    config: Config,
    output: Path | None,
    context: distributed.Context,
    *,
    data: Samples | None = None,
    custom: Custom = Custom(),  # noqa: B008  (a constant)
) -> Prepared:
    """Open the data, build the networks, and resume from the newest whole checkpoint of `output`.

    Raises:
        DeoError: the data or the configuration cannot be used, or the folder holds another run.
    """
    samples = _opened(config) if data is None else data
    order = Order(
        length=len(samples),
        batch=config.run.batch_size,
        seed=config.run.seed,
        rank=context.rank,
        world_size=context.world_size,
        data_split=config.data.split,
        subset_per_rank=config.switches.subset_per_rank,
        run_length=getattr(samples, "run_length", 0),
    )
    inputs = Inputs(samples_identity(samples), custom.record())
    newest = checkpoints.newest(output / CHECKPOINTS_NAME) if output is not None else None
    if newest is not None:  # refused before the networks are built, which may take minutes
        refuse_changes(newest.checkpoint, config, inputs, world_size=context.world_size)
    state = build(
        config,
        context,
        steps_per_epoch=order.steps_per_epoch,
        optical=custom.optical,
        views=custom.views,
    )
    if state.clean is not None:
        state.clean.measure(samples)
    if newest is not None:
        resume_from(state, newest.checkpoint)
    return Prepared(state, samples, order, inputs)


def _opened(config: Config) -> Samples:
    data = config.data
    if not data.source:
        raise ConfigError("no data: give a folder made by `deo prepare` as data.source")
    return open_samples(data.source, size=data.size, valid=data.valid)


def _train(prepared: Prepared, output: Path, *, progress: bool) -> None:
    """Take the steps that are left, watched and saved."""
    state = prepared.state
    config, context = state.config, state.context
    request = StopRequest(context)
    with contextlib.ExitStack() as stack:
        sinks = _sinks(config, output, state, progress) if context.main else []
        journal = stack.enter_context(contextlib.closing(Journal(sinks)))
        watch = _watch(output, state, journal)
        saver = Saver(
            output / CHECKPOINTS_NAME,
            every=config.run.checkpoint_every or state.steps_per_epoch,
            keep=config.run.keep,
            inputs=prepared.inputs,
            request=request,
        )
        reading = batches(
            prepared.samples,
            prepared.order,
            start=state.step,
            stop=state.steps,
            workers=config.run.workers,
        )
        stack.enter_context(contextlib.closing(reading))
        stack.enter_context(request.listening())
        # a step is recorded before it is saved: a resumed run drops records, and cannot add any
        fit(state, reading, [watch, saver])


def _watch(output: Path, state: State, journal: Journal) -> Watch:
    config, monitor = state.config, state.config.monitor
    batch = config.run.batch_size * state.context.world_size
    peak = peak_flops(state.context.device)
    collapse = Collapse(
        cosine=monitor.collapse_cosine,
        rank=monitor.collapse_rank,
        possible=min(config.model.z, batch),
        after=round(_JUDGED_AFTER * state.steps),
    )
    probe_every = monitor.probe_every * state.steps_per_epoch
    return Watch(
        output,
        journal,
        every=config.run.log_every,
        speed=Speedometer(
            samples_per_step=batch,
            flops_per_step=None if peak is None else estimate_flops(state),
            peak_flops=peak,
        ),
        alarm=CollapseAlarm(collapse),
        guard=FiniteGuard(limit=monitor.nonfinite_limit),
        extra=Probe(monitor.probe, every=probe_every, state=state) if monitor.probe else no_probe,
    )


def _sinks(config: Config, output: Path, state: State, progress: bool) -> list[Sink]:
    sinks: list[Sink] = [JsonLines(output / METRICS_NAME, resume_at=state.step)]
    if config.monitor.tensorboard:
        sinks.append(TensorBoard(output / TENSORBOARD_NAME, resume_at=state.step))
    if config.monitor.wandb:
        sinks.append(WeightsAndBiases(output, settings.to_dict(config)))
    if progress:
        sinks.append(Progress(done=state.step, steps=state.steps))
    return sinks
