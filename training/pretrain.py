"""The command line of pretraining: `deo pretrain`, `python -m` or `torchrun -m
deo.training.pretrain`. From settings to a configuration, and from that to a run.
"""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import click

from deo.errors import ConfigError, DeoError
from deo.files.disk import make_folder, write_file
from deo.files.lock import claim
from deo.training import settings
from deo.training.config import Config
from deo.training.data.identity import samples_identity
from deo.training.data.loading import batches
from deo.training.data.order import Order
from deo.training.data.samples import Samples, open_samples
from deo.training.recipes import RECIPES, recipe
from deo.training.run import checkpoint as checkpoints
from deo.training.run import distributed
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.flops import estimate_flops, peak_flops
from deo.training.run.journal import (
    METRICS_NAME,
    Journal,
    JsonLines,
    Sink,
    TensorBoard,
    WeightsAndBiases,
)
from deo.training.run.monitors import (
    Collapse,
    CollapseAlarm,
    FiniteGuard,
    Speedometer,
    memory_gib,
)
from deo.training.run.progress import Progress
from deo.training.run.saving import Saver, Stopped, StopRequest, refuse_changes, resume
from deo.training.run.state import State, build
from deo.training.run.step import Observer, fit
from deo.training.run.watch import Watch
from deo.training.tasks.online import Probe, no_probe

log = logging.getLogger(__name__)

EXIT_REQUEUE = 75
"""Exit status (EX_TEMPFAIL) of a run that a signal ended and that resumes when started again."""

EXIT_INTERRUPTED = 130
CONFIG_NAME, TENSORBOARD_NAME = "config.toml", "tensorboard"
_JUDGED_AFTER = 0.1


class Prepared(NamedTuple):
    """A run before its first or next step."""

    state: State
    samples: Samples
    order: Order
    data: dict[str, Any]


def compose(
    recipe_name: str | None, file: Path | None, assignments: Sequence[str], data: Path | None
) -> Config:
    """The configuration: a recipe, a file or both, then single settings.

    A setting may leave out its section where its name is unambiguous: `steps=100`.

    Raises:
        ConfigError: anything is unknown or cannot work.
    """
    if recipe_name is None and file is None:
        raise ConfigError(
            f"no run named: give --recipe NAME ({', '.join(RECIPES)}), or --config FILE"
        )
    config = recipe(recipe_name) if recipe_name else Config()
    if file is not None:
        config = settings.load(file, base=config)
    config = settings.override(config, map(qualified, assignments))
    if data is not None:
        config = settings.override(config, [f"data.source={json.dumps(str(data))}"])
    if not config.data.source:
        raise ConfigError("no data: give --data FOLDER (made by `deo prepare`), or data.source")
    return config


def qualified(assignment: str) -> str:
    """`run.steps=100` from `steps=100`, when only one section has that name."""
    name, equals, value = assignment.partition("=")
    tree = Config()
    sections = [
        section
        for section in tree.__dataclass_fields__
        if name.strip() in getattr(tree, section).__dataclass_fields__
    ]
    if "." in name or name.strip() in tree.__dataclass_fields__ or len(sections) != 1:
        return assignment
    return f"{sections[0]}.{name.strip()}{equals}{value}"


def prepare_run(config: Config, output: Path | None, context: distributed.Context) -> Prepared:
    """Open the data, build the networks, and resume from the newest whole checkpoint of `output`.

    Raises:
        DeoError: the data or the configuration cannot be used, or the folder holds another run.
    """
    samples = open_samples(config.data.source, size=config.data.size, valid=config.data.valid)
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
    data = samples_identity(samples)
    found = checkpoints.newest(output / CHECKPOINTS_NAME) if output is not None else None
    if found is not None:
        refuse_changes(found.checkpoint, config, data=data, world_size=context.world_size)
    state = build(config, context, steps_per_epoch=order.steps_per_epoch)
    if found is not None:
        resume(state, found.checkpoint)
    return Prepared(state, samples, order, data)


def run(config: Config, output: Path, *, progress: bool = True) -> State:
    """Pretrain until the last step, resuming what `output` holds.

    Raises:
        DeoError: see `prepare_run`; or the run stopped itself.
        BusyError: another run is writing to `output`.
        Stopped: a signal ended it; it is saved.
    """
    with distributed.connect(config.run.device) as context, contextlib.ExitStack() as stack:
        if context.main:
            stack.enter_context(claim(make_folder(output)))
            checkpoints.remove_unfinished(output / CHECKPOINTS_NAME)
        context.barrier()
        prepared = prepare_run(config, output, context)
        state, request = prepared.state, StopRequest(context)
        if context.main:
            write_file(output / CONFIG_NAME, settings.dumps(config))
        journal = Journal(_sinks(config, output, state, progress) if context.main else [])
        reading = batches(
            prepared.samples,
            prepared.order,
            start=state.step,
            stop=state.steps,
            workers=config.run.workers,
        )
        watch = _watch(config, output, state, journal)
        saver = Saver(
            output / CHECKPOINTS_NAME,
            every=config.run.checkpoint_every or state.steps_per_epoch,
            keep=config.run.keep,
            data=prepared.data,
            request=request,
        )
        observers: list[Observer] = [watch, saver]
        with closing(journal), closing(reading), request.listening():
            fit(state, reading, observers)
        return state


def _watch(config: Config, output: Path, state: State, journal: Journal) -> Watch:
    monitor, batch = config.monitor, config.run.batch_size * state.context.world_size
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


def dry_run(config: Config) -> str:
    """Build everything, take two steps, write nothing; what it took, in words.

    Raises:
        DeoError: see `prepare_run`.
    """
    with distributed.connect(config.run.device) as context:
        state, samples, order, _ = prepare_run(config, None, context)
        speed = Speedometer(samples_per_step=config.run.batch_size * context.world_size)
        seconds: list[float] = []

        def time_step(state: State, batch: Any, record: Any) -> None:
            float(record.loss)  # waits for the device
            seconds.append(speed.read(steps_left=0).step_seconds)

        steps = min(2, state.steps)
        with closing(batches(samples, order, start=0, stop=steps)) as reading:
            fit(state, reading, [time_step])
        hours = seconds[-1] * state.steps / 3600
        parameters = sum(parameter.numel() for parameter in state.student.parameters())
        return (
            f"dry run: {len(samples)} samples, {order.steps_per_epoch} steps per epoch, "
            f"{state.steps} steps in all, {context.world_size} process(es) on {context.device}\n"
            f"student: {config.model.name}, {parameters / 1e6:.2f} M parameters with heads\n"
            f"steps took {', '.join(f'{value:.2f} s' for value in seconds)} (the first one warms "
            f"up); at the last one's speed the run takes {hours:.2f} h\n"
            f"memory: {memory_gib(context.device):.2f} GiB "
            f"({'device' if context.device.type == 'cuda' else 'resident'}, this process)"
        )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "recipe_name", help=f"A ready configuration: {', '.join(RECIPES)}.")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="A TOML file, over the recipe."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="A.B=C", help="One setting; may be repeated."
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Shards, HDF5, tars or scenes (data.source)."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="The run's folder."
)
@click.option(
    "--dry-run",
    "dry",
    is_flag=True,
    help="Build everything, take two steps, report, write nothing.",
)
def pretrain(
    recipe_name: str | None,
    file: Path | None,
    assignments: tuple[str, ...],
    data: Path | None,
    output: Path | None,
    dry: bool,
) -> None:
    """Pretrain a backbone. The same command again resumes from OUTPUT/checkpoints.

    SIGTERM or SIGUSR1 saves and exits with status 75: start the same command again.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = compose(recipe_name, file, assignments, data)
    if _speaks():
        click.echo(settings.dumps(config))
    if dry:
        report = dry_run(config)
        if _speaks():
            click.echo(report)
        return
    if output is None:
        raise ConfigError("no output folder: give --output FOLDER")
    try:
        state = run(config, output)
    except Stopped as stop:
        click.echo(f"{stop}; the same command goes on from there", err=True)
        sys.exit(EXIT_INTERRUPTED if stop.signal_name == "SIGINT" else EXIT_REQUEUE)
    if _speaks():
        click.echo(f"finished {state.steps} steps; next: deo export {output} -o model.safetensors")


def _speaks() -> bool:
    return os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Run the command; a `DeoError` becomes one message and exit status 1."""
    try:
        pretrain.main(prog_name="deo pretrain")
    except DeoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
