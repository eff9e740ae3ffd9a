"""Schedules: optimiser step -> value, in plain arithmetic."""

import math
from dataclasses import dataclass


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
            return self.start + (self.base - self.start) * step / max(self.warmup - 1, 1)
        if step >= self.steps:
            return self.final
        turn = math.pi * (step - self.warmup) / (self.steps - self.warmup)
        return self.final + 0.5 * (self.base - self.final) * (1 + math.cos(turn))
