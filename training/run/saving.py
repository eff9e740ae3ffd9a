"""The observer that saves a run, and the ways back: resuming, and refusing to."""

import logging
import signal
from pathlib import Path
from typing import Any, NamedTuple

import torch.distributed as dist

from deo.errors import ConfigError
from deo.files.records import differences
from deo.training import settings
from deo.training.config import Config
from deo.training.data.identity import changed_data
from deo.training.data.loading import Batch
from deo.training.run import snapshot
from deo.training.run.checkpoint import Checkpoint, save
from deo.training.run.distributed import Context
from deo.training.run.snapshot import random_state, restore_random_state
from deo.training.run.state import State
from deo.training.run.step import StepRecord
from deo.training.run.stopping import Stopped, StopRequest

log = logging.getLogger(__name__)

FREE = ("run.workers", "run.log_every", "run.checkpoint_every", "run.keep", "data.source")
"""Settings that change nothing that is computed. Of the data their content is compared instead, see
`deo.training.data.identity`.
"""


class Inputs(NamedTuple):
    """What a run learns from beside its configuration.

    Args:
        data: what identifies the samples, see `deo.training.data.identity`.
        custom: what identifies a teacher and a view maker of one's own, see
            `deo.training.run.custom`.
    """

    data: dict[str, Any]
    custom: dict[str, Any]


class Saver:
    """Saves every `every` steps, after the last one, and when the end is asked for.

    Args:
        folder: for checkpoints.
        every: steps between them.
        keep: how many stay.
        inputs: what the run learns from, compared on resuming.
        request: asked after every step.
    """

    def __init__(
        self, folder: Path, *, every: int, keep: int, inputs: Inputs, request: StopRequest
    ) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self.inputs, self.request = inputs, request

    def __call__(self, state: State, batch: Batch, record: StepRecord) -> None:
        # asked on every process in every step, since the answer is a collective operation
        number = self.request.agreed()
        if number or state.step % self.every == 0 or state.step == state.steps:
            path = self.write(state)
            log.debug("saved %s", path)
        if number:
            raise Stopped(state.step, signal.Signals(number).name)

    def write(self, state: State) -> Path | None:
        """Save now; every process takes part, the main one writes."""
        states = _gather_random_states(state.context)
        content = snapshot.take(state)._asdict()
        path = None
        if state.context.main:
            checkpoint = Checkpoint(
                step=state.step,
                config=settings.to_dict(state.config),
                data=self.inputs.data,
                state=content,
                randomness=states,
                custom=self.inputs.custom,
            )
            path = save(self.folder, checkpoint, keep=self.keep)
        state.context.barrier()
        return path


def resume_from(state: State, checkpoint: Checkpoint) -> None:
    """Put a state where the checkpoint was taken, random generators included."""
    snapshot.put_back(state, snapshot.Snapshot(**checkpoint.state))
    restore_random_state(checkpoint.randomness[state.context.rank])


def refuse_changes(
    checkpoint: Checkpoint, config: Config, inputs: Inputs, *, world_size: int
) -> None:
    """Refuse to go on with another configuration, other inputs or more or fewer processes.

    Raises:
        ConfigError: something differs; every difference is shown.
    """
    # through a `Config`, so that a setting which is newer than the checkpoint has its default
    saved = settings.to_dict(settings.from_dict(checkpoint.config))
    lines = [
        str(one)
        for one in differences(saved, settings.to_dict(config))
        if one.name not in FREE and not one.name.startswith("monitor.")
    ]
    lines += changed_data(checkpoint.data, inputs.data)
    lines += map(str, differences(checkpoint.custom, inputs.custom))
    if len(checkpoint.randomness) != world_size:
        lines.append(f"processes: {len(checkpoint.randomness)} -> {world_size}")
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(
            "this output folder holds a run with another configuration (saved -> asked for):"
            f"{listed}\nRepeat the saved one to resume, or choose another --output"
        )


def _gather_random_states(context: Context) -> list[dict[str, Any]]:
    ours = random_state()
    if context.world_size == 1:
        return [ours]
    states: list[Any] = [None] * context.world_size
    dist.all_gather_object(states, ours)
    return states
