"""The observer that measures a run: records every few steps, alarms, and dumps bad steps."""

import datetime
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deo.files.publish import write_file
from deo.training.data.loading import Batch
from deo.training.run.distributed import Context
from deo.training.run.journal import Journal
from deo.training.run.monitors import (
    CollapseAlarm,
    FiniteGuard,
    Speed,
    Speedometer,
    drift,
    memory_gib,
)
from deo.training.run.state import State
from deo.training.run.step import StepRecord

log = logging.getLogger(__name__)

NONFINITE_NAME = "nonfinite"
_MEASURED = ("loss", "comp", "expa", "cls", "patch", "effective_rank", "head_cosine")

Extra = Callable[[State, int], dict[str, float]]
"""State and steps finished -> further values of the record; nothing, most of the time."""


class _Suspect(NamedTuple):
    """A step whose gradient has not been looked at yet."""

    step: int
    epoch: int
    samples: Tensor
    terms: Tensor
    grad_norm: Tensor


class Watch:
    """Reads the device once every `every` steps and writes one record.

    Args:
        folder: the run's output; bad steps are dumped below it.
        journal: where records go; only the main process has one.
        every: steps between records. The first and the last step are recorded too.
        speed: timed by the caller's clock.
        alarm: judges collapse.
        guard: counts steps without a finite gradient.
        extra: adds values of its own, such as a probe's.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        every: int,
        speed: Speedometer,
        alarm: CollapseAlarm,
        guard: FiniteGuard,
        extra: Extra,
    ) -> None:
        self.folder, self.journal, self.every = folder, journal, every
        self.speed, self.alarm, self.guard, self.extra = speed, alarm, guard, extra
        self._suspects: list[_Suspect] = []

    def __call__(self, state: State, batch: Batch, record: StepRecord) -> None:
        terms = torch.stack([getattr(record, name).float() for name in _MEASURED])
        norm = _whole(record.grad_norm)
        self._suspects.append(_Suspect(record.step, record.epoch, batch.samples, terms, norm))
        self.speed.step(waited=batch.waited)
        finished = record.step + 1
        extra = self.extra(state, finished)
        due = finished % self.every == 0 or finished in (1, state.steps) or extra
        if due:
            self.flush(state, record, extra)

    def flush(self, state: State, record: StepRecord, extra: dict[str, float]) -> None:
        """Look at every step since the last record, and write one of the newest."""
        speed = self.speed.read(steps_left=state.steps - state.step)
        terms = state.context.mean(self._suspects[-1].terms).tolist()
        values = dict(zip(_MEASURED, terms, strict=True))
        line: dict[str, Any] = {
            "step": record.step + 1,
            "epoch": record.epoch,
            **values,
            "grad_norm": float(self._suspects[-1].grad_norm),
            "drift": float(_whole(drift(state.average.student, state.average.teacher))),
            "lr": record.lr,
            "weight_decay": record.weight_decay,
            "momentum": record.momentum,
            **_speed(speed),
            "memory_gib": round(memory_gib(state.context.device), 3),
            **extra,
        }
        try:
            self._look_back(state.context)
        finally:
            line["skipped"] = self.guard.skipped
            line["alarm"] = self._alarm(line)
            line["time"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self.journal.write(line)

    def _alarm(self, line: dict[str, Any]) -> str | None:
        text = self.alarm.judge(
            line["step"], head_cosine=line["head_cosine"], effective_rank=line["effective_rank"]
        )
        if text is not None:
            log.warning("%s", text)
        return text

    def _look_back(self, context: Context) -> None:
        suspects, self._suspects = self._suspects, []
        norms = torch.stack([suspect.grad_norm for suspect in suspects]).tolist()
        folder = self.folder / NONFINITE_NAME
        for suspect, norm in zip(suspects, norms, strict=True):
            finite = float("-inf") < norm < float("inf")
            if not finite:
                path = _dump(folder, suspect, norm, context.rank)
                log.warning("step %d: gradient norm %s; skipped, see %s", suspect.step, norm, path)
            self.guard.judge(suspect.step, finite=finite, folder=folder)


def _dump(folder: Path, suspect: _Suspect, norm: float, rank: int) -> Path:
    """Write what repeats the step: its number, epoch and samples, with the terms it gave.

    Views and order follow from the seed and these numbers, so nothing else needs keeping.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{suspect.step:08d}-rank{rank}.json"
    terms = dict(zip(_MEASURED, map(str, suspect.terms.tolist()), strict=True))
    content = {
        "step": suspect.step,
        "epoch": suspect.epoch,
        "samples": suspect.samples.tolist(),
        "grad_norm": str(norm),
        **terms,
    }
    write_file(path, json.dumps(content, indent=1) + "\n")
    return path


def _speed(speed: Speed) -> dict[str, float | None]:
    return {
        "samples_per_second": round(speed.samples_per_second, 3),
        "step_seconds": round(speed.step_seconds, 5),
        "wait_share": round(speed.wait_share, 5),
        "mfu": None if speed.mfu is None else round(speed.mfu, 4),
        "eta_seconds": round(speed.eta_seconds, 1),
    }


def _whole(value: Tensor) -> Tensor:
    """A scalar that sharded parameters made, as an ordinary one."""
    full = getattr(value, "full_tensor", None)
    whole: Tensor = full() if full is not None else value
    return whole.detach().float()
