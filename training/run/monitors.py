"""What is watched while a run goes: collapse, steps without a finite gradient, speed, memory."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deo.errors import DeoError


class RunStoppedError(DeoError, RuntimeError):
    """Training stopped itself, because going on would waste the machine."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """When an embedding counts as collapsed (see docs/pretraining.md).

    Args:
        cosine: mean cosine between different samples above which all look alike.
        rank: effective rank, as a part of the largest possible one, below which they do.
        possible: the largest rank there can be: the embedding's width or the samples per step,
            whichever is smaller.
        after: steps in which nothing is judged: at random weights every embedding looks alike.
        patience: records in a row that it takes.
    """

    cosine: float
    rank: float
    possible: int
    after: int
    patience: int = 3


class CollapseAlarm:
    """Judges records in order; says so once when `patience` in a row look collapsed."""

    def __init__(self, limits: Collapse) -> None:
        self.limits = limits
        self._in_a_row = 0

    def judge(self, step: int, *, head_cosine: float, effective_rank: float) -> str | None:
        """The alarm's text at the record that raises it, else None."""
        limits = self.limits
        low = limits.rank * limits.possible
        collapsed = head_cosine > limits.cosine or effective_rank < low
        # one bad record may be chance, and random weights look collapsed until they have learned
        self._in_a_row = self._in_a_row + 1 if collapsed and step >= limits.after else 0
        if self._in_a_row != limits.patience:  # equal, not above: the alarm is raised once
            return None
        return (
            f"COLLAPSE at step {step}: mean cosine between samples {head_cosine:.3f} "
            f"(alarm above {limits.cosine}), effective rank {effective_rank:.1f} of "
            f"{limits.possible} (alarm below {low:.1f}). The samples are embedded alike: lower "
            "the learning rate, raise loss.expansion, or look at the data"
        )


@dataclass(kw_only=True)
class FiniteGuard:
    """Counts steps whose gradient was not finite and stops a run that makes no others.

    Args:
        limit: how many in a row stop the run.
        skipped: how many there were.
        in_a_row: how many there were lately.
    """

    limit: int
    skipped: int = 0
    in_a_row: int = 0

    def judge(self, step: int, *, finite: bool, folder: Any) -> bool:
        """Count one step; whether it was skipped.

        Raises:
            RunStoppedError: it was the last that is tolerated.
        """
        if finite:
            self.in_a_row = 0
            return False
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.limit:
            raise RunStoppedError(
                f"{self.in_a_row} steps in a row without a finite loss and gradient, the last at "
                f"step {step}; the weights are as before them. Each was dumped to {folder}. Lower "
                "optim.lr or optim.clip, or take run.precision=fp32"
            )
        return True


class Speed(NamedTuple):
    """Over the steps since the last record.

    Args:
        samples_per_second: of all processes.
        step_seconds: per step.
        wait_share: part of the time that the process stood still for data.
        mfu: part of the device's peak arithmetic that was used; None where that is not known.
        eta_seconds: until the last step at this speed.
    """

    samples_per_second: float
    step_seconds: float
    wait_share: float
    mfu: float | None
    eta_seconds: float


@dataclass(kw_only=True)
class Speedometer:
    """Times steps between records.

    Args:
        samples_per_step: of all processes.
        flops_per_step: of this process; None when not counted.
        peak_flops: of this process's device; None when not known.
        clock: seconds; another one for tests.
    """

    samples_per_step: int
    flops_per_step: float | None = None
    peak_flops: float | None = None
    clock: Callable[[], float] = time.perf_counter
    _began: float = field(init=False)
    _waited: float = field(init=False, default=0.0)
    _steps: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def step(self, *, waited: float) -> None:
        """One step ended, `waited` seconds of which were spent on waiting for data."""
        self._steps += 1
        self._waited += waited

    def read(self, *, steps_left: int) -> Speed:
        """Speed since the last reading, which starts a new stretch."""
        now = self.clock()
        elapsed = max(now - self._began, 1e-9)
        seconds = elapsed / max(1, self._steps)
        mfu = None
        if self.flops_per_step is not None and self.peak_flops is not None:
            mfu = self.flops_per_step / seconds / self.peak_flops
        speed = Speed(
            samples_per_second=self.samples_per_step / seconds,
            step_seconds=seconds,
            wait_share=min(1.0, self._waited / elapsed),
            mfu=mfu,
            eta_seconds=seconds * steps_left,
        )
        self._began, self._waited, self._steps = now, 0.0, 0
        return speed


def memory_gib(device: torch.device) -> float:
    """The most memory used so far: on a CUDA device, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # getrusage counts in bytes on macOS, in KiB on Linux
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


@torch.no_grad()
def drift(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """How far the EMA teacher is behind: norm of the difference over the norm of the student.

    Args:
        student, teacher: parameters in pairs.

    Returns:
        A scalar tensor; nothing waits for it.
    """
    apart = torch.stack(
        [(ours - other).float().norm() for ours, other in zip(student, teacher, strict=True)]
    )
    sizes = torch.stack([ours.float().norm() for ours in student])
    # the norm of the norms is that of all parameters together
    ratio: Tensor = apart.norm() / sizes.norm()
    return ratio
