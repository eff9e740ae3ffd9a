"""What is watched: collapse, steps without a finite gradient, speed."""

from pathlib import Path

import pytest
import torch

from deo.training import settings
from deo.training.config import Config
from deo.training.run.journal import read_metrics
from deo.training.run.monitors import (
    Collapse,
    CollapseAlarm,
    FiniteGuard,
    RunStoppedError,
    Speedometer,
    drift,
)
from deo.training.run.pretraining import pretrain

LIMITS = Collapse(cosine=0.8, rank=0.05, possible=256, after=100, patience=3)


def test_collapse__alarms_once_after_patience() -> None:
    alarm = CollapseAlarm(LIMITS)
    said = [alarm.judge(step, head_cosine=0.96, effective_rank=40) for step in range(100, 106)]
    assert [text is not None for text in said] == [False, False, True, False, False, False]
    assert said[2] is not None
    assert "COLLAPSE at step 102" in said[2]


def test_collapse__low_rank_alone_is_enough() -> None:
    alarm = CollapseAlarm(LIMITS)
    said = [alarm.judge(step, head_cosine=0.1, effective_rank=12.7) for step in (100, 110, 120)]
    assert said[2] is not None


def test_collapse__healthy_or_early_or_recovered_is_not() -> None:
    healthy, early, recovered = (CollapseAlarm(LIMITS) for _ in range(3))
    assert not any(
        healthy.judge(step, head_cosine=0.02, effective_rank=67) for step in range(100, 200)
    )
    assert not any(early.judge(step, head_cosine=0.99, effective_rank=1.1) for step in range(99))
    for step in range(100, 160):
        cosine = 0.1 if step % 3 == 0 else 0.99
        assert recovered.judge(step, head_cosine=cosine, effective_rank=60) is None


def test_guard__stops_after_the_limit_in_a_row() -> None:
    guard = FiniteGuard(limit=2)
    outcomes = [guard.judge(step, finite=step % 2 == 0, folder="d") for step in range(6)]
    assert outcomes == [False, True] * 3
    assert guard.skipped == 3
    with pytest.raises(RunStoppedError, match="2 steps in a row"):
        guard.judge(7, finite=False, folder="d")


def test_speedometer__divides_time_between_work_and_waiting() -> None:
    now = [0.0]
    speed = Speedometer(
        samples_per_step=8, flops_per_step=6e12, peak_flops=1e13, clock=lambda: now[0]
    )
    for _ in range(4):
        now[0] += 2.0
        speed.step(waited=0.5)
    read = speed.read(steps_left=10)
    assert read == (4.0, 2.0, 0.25, 0.3, 20.0)
    now[0] += 1.0
    speed.step(waited=0.0)
    assert speed.read(steps_left=1)[:3] == (8.0, 1.0, 0.0)


def test_drift__is_relative() -> None:
    student = [torch.full((3,), 2.0), torch.zeros(2)]
    assert float(drift(student, [tensor * 0.75 for tensor in student])) == pytest.approx(0.25)


def test_run__alarms_when_the_embedding_collapses(
    tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings.override(
        tiny_config,
        ["loss.expansion=0.0", "monitor.collapse_cosine=0.2", "run.checkpoint_every=100"],
    )
    pretrain(config, output=tmp_path, progress=False)
    alarms = [record["alarm"] for record in read_metrics(tmp_path / "metrics.jsonl")]
    assert sum(alarm is not None for alarm in alarms) == 1
    assert "COLLAPSE" in caplog.text
