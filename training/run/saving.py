"""The observer that saves a run, and ends it in order when a scheduler says so."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from deo.errors import ConfigError
from deo.files.records import differences
from deo.training import settings
from deo.training.data.identity import changed_data
from deo.training.data.loading import Batch
from deo.training.run.checkpoint import (
    Checkpoint,
    random_state,
    restore_random_state,
    save,
)
from deo.training.run.distributed import Context
from deo.training.run.state import State
from deo.training.run.step import StepRecord

log = logging.getLogger(__name__)

FREE = ("run.workers", "run.log_every", "run.checkpoint_every", "run.keep", "data.source")
"""Settings that change nothing that is computed. Of the data their content is compared instead, see
`deo.training.data.identity`.
"""


class Stopped(BaseException):
    """A signal asked for the end of the run; everything up to `step` is saved.

    Not an Exception, so that nothing on the way takes it for a fault.
    """

    def __init__(self, step: int, signal_name: str) -> None:
        super().__init__(f"{signal_name}: saved after step {step}")
        self.step, self.signal_name = step, signal_name


class StopRequest:
    """Remembers SIGTERM, SIGUSR1 or SIGINT, so that the run ends between two steps.

    With several processes all agree on the step; that costs one small all-reduce over gloo per
    step (no wait for the device).
    """

    def __init__(self, context: Context) -> None:
        self._several = context.world_size > 1
        self._group: Any = dist.new_group(backend="gloo") if self._several else None
        self.received: int = 0

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Catch the signals inside this block. Outside the main thread nothing is caught."""
        numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
        try:
            before = {number: signal.signal(number, self._note) for number in numbers}
        except ValueError:
            before = {}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def agreed(self) -> int:
        """The signal that some process received, or 0; the same answer on every process."""
        if not self._several:
            return self.received
        largest = torch.tensor(self.received)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._group)
        return int(largest)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:  # a second one does not wait for the step
            raise KeyboardInterrupt
        self.received = number


class Saver:
    """Saves every `every` steps, after the last one, and when the end is asked for.

    Args:
        folder: for checkpoints.
        every: steps between them.
        keep: how many stay.
        data: what identifies the data (see `FREE`), compared on resuming.
        request: asked after every step.
    """

    def __init__(
        self, folder: Path, *, every: int, keep: int, data: dict[str, Any], request: StopRequest
    ) -> None:
        self.folder, self.every, self.keep = folder, every, keep
        self.data, self.request = data, request

    def __call__(self, state: State, batch: Batch, record: StepRecord) -> None:
        number = self.request.agreed()
        if number or state.step % self.every == 0 or state.step == state.steps:
            path = self.write(state)
            log.debug("saved %s", path)
        if number:
            raise Stopped(state.step, signal.Signals(number).name)

    def write(self, state: State) -> Path | None:
        """Save now; every process takes part, the main one writes."""
        states, content = _gather_random_states(state.context), full_state(state)
        path = None
        if state.context.main:
            config = settings.to_dict(state.config)
            checkpoint = Checkpoint(state.step, config, self.data, content, states)
            path = save(self.folder, checkpoint, keep=self.keep)
        state.context.barrier()
        return path


def resume(state: State, checkpoint: Checkpoint) -> None:
    """Put a state where the checkpoint was taken, random generators included."""
    load_full_state(state, checkpoint.state)
    restore_random_state(checkpoint.randomness[state.context.rank])


def refuse_changes(
    checkpoint: Checkpoint, config: Any, *, data: dict[str, Any], world_size: int
) -> None:
    """Refuse to go on with another configuration, other data or more or fewer processes.

    Raises:
        ConfigError: something differs; every difference is shown.
    """
    saved = settings.to_dict(settings.from_dict(checkpoint.config))
    lines = [
        str(one)
        for one in differences(saved, settings.to_dict(config))
        if one.name not in FREE and not one.name.startswith("monitor.")
    ]
    lines += changed_data(checkpoint.data, data)
    if len(checkpoint.randomness) != world_size:
        lines.append(f"processes: {len(checkpoint.randomness)} -> {world_size}")
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(
            f"this output folder holds a run with another configuration (saved -> asked for):"
            f"{listed}\nRepeat the saved one to resume, or choose another --output"
        )


def full_state(state: State) -> dict[str, Any]:
    """What a checkpoint holds; sharded parameters are put together (on the main process)."""
    if state.config.run.strategy != "fsdp":
        return state.state_dict()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return {
        "step": state.step,
        "student": get_model_state_dict(state.student, options=options),
        "teacher": get_model_state_dict(state.teacher, options=options),
        "optimizer": get_optimizer_state_dict(state.student, state.optimizer, options=options),
        "scaler": state.scaler.state_dict(),
    }


def load_full_state(state: State, saved: dict[str, Any]) -> None:
    """Go on from `full_state`; every name must be there."""
    if state.config.run.strategy != "fsdp":
        state.load_state_dict(saved)
        return
    options = StateDictOptions(full_state_dict=True, strict=True)
    set_model_state_dict(state.student, saved["student"], options=options)
    set_model_state_dict(state.teacher, saved["teacher"], options=options)
    set_optimizer_state_dict(state.student, state.optimizer, saved["optimizer"], options=options)
    state.scaler.load_state_dict(saved["scaler"])
    state.step = saved["step"]


def _gather_random_states(context: Context) -> list[dict[str, Any]]:
    own = random_state()
    if context.world_size == 1:
        return [own]
    states: list[Any] = [None] * context.world_size
    dist.all_gather_object(states, own)
    return states
