"""How a run ends in order when a scheduler or a person says so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from deo.training.run.distributed import Context


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
