"""Schedules in plain arithmetic: those of pretraining by step, that of tuning by epoch.

Both warm up linearly and fall as half a cosine. They differ in where the warm-up starts and ends,
and results were published with either, so that neither takes the other's place.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up, then half a cosine from `base` to `final`.

    As in DINO: the warm-up reaches `base` at its last step, and the cosine starts there anew, so
    `base` holds for two steps; `final` would be reached one step after the last.

    Args:
        base: value at the peak.
        final: value at the end.
        steps: length in all.
        warmup: steps of warm-up among them.
        start: value of the first warm-up step.

    Raises:
        ValueError: the warm-up is longer than the whole, or the whole has no step.
    """

    base: float
    final: float
    steps: int
    warmup: int = 0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= self.steps or self.steps < 1:
            raise ValueError(f"{self.warmup} of {self.steps} steps cannot be warm-up")

    def __call__(self, step: int) -> float:
        """The value at `step`, counted from 0; past the end it is `final`."""
        if step < self.warmup:
            # the last step of the warm-up is `warmup - 1`, and there `base` is reached
            return self.start + (self.base - self.start) * step / max(self.warmup - 1, 1)
        if step >= self.steps:
            return self.final
        turn = math.pi * (step - self.warmup) / (self.steps - self.warmup)
        return self.final + 0.5 * (self.base - self.final) * (1 + math.cos(turn))


@dataclass(frozen=True, kw_only=True)
class EpochCosine:
    """Linear warm-up, then half a cosine from `base` to 0, as the authors tune.

    The warm-up would reach `base` where the cosine begins. It starts at its value after a tenth of
    an epoch, so that the first step learns something.

    Args:
        base: value at the peak.
        epochs: length in all.
        warmup: epochs of warm-up among them.
    """

    base: float
    epochs: int
    warmup: int = 0

    def __call__(self, epoch: float) -> float:
        """The value at `epoch`, counted from 0, with the part of it that is done."""
        if epoch < self.warmup:
            return self.base * max(epoch, 0.1) / self.warmup
        done = (epoch - self.warmup) / max(self.epochs - self.warmup, 1)
        return self.base * 0.5 * (1 + math.cos(math.pi * done))


class Rates(NamedTuple):
    """What the schedules of pretraining say of one step."""

    lr: float
    weight_decay: float
    momentum: float


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Learning rate, weight decay and EMA momentum over a pretraining run."""

    lr: Cosine
    weight_decay: Cosine
    momentum: Cosine

    def __call__(self, step: int) -> Rates:
        return Rates(self.lr(step), self.weight_decay(step), self.momentum(step))
