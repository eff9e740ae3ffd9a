"""The run loop: observers, many processes, steps without a finite gradient."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deo.training import settings
from deo.training.config import Config
from deo.training.data.loading import Batch, batches
from deo.training.data.order import Order
from deo.training.data.shards import Shards
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.distributed import Context
from deo.training.run.pretraining import pretrain
from deo.training.run.state import State, build
from deo.training.run.step import StepRecord, fit

pytestmark = pytest.mark.filterwarnings(
    "ignore:FSDP2-wrapped module.*returned a view:UserWarning"  # nothing writes into it
)


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_fit__calls_observers_in_order_after_each_step(
    tiny_config: Config, tiny_shards: Path
) -> None:
    state = build(tiny_config, Context(), steps_per_epoch=6)
    order = Order(length=24, batch=4, seed=0)
    seen: list[tuple[str, int, int]] = []

    def first(state: State, batch: Batch, record: StepRecord) -> None:
        seen.append(("first", batch.step, state.step))

    def second(state: State, batch: Batch, record: StepRecord) -> None:
        seen.append(("second", record.step, record.epoch))

    with closing(batches(Shards(tiny_shards), order, start=0, stop=2)) as reading:
        fit(state, reading, [first, second])
    assert seen == [("first", 0, 1), ("second", 0, 0), ("first", 1, 2), ("second", 1, 0)]


def final_student(output: Path) -> dict[str, Tensor]:
    student: dict[str, Tensor] = checkpoints.load(
        checkpoints.saved(output / CHECKPOINTS_NAME)[-1]
    ).state["student"]
    return student


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        ("ddp", 3),
        pytest.param("ddp", 20, marks=pytest.mark.slow),
        pytest.param("fsdp", 20, marks=pytest.mark.slow),
    ],
)
def test_run__two_processes_equal_one_with_the_double_batch(
    tiny_config: Config,
    tmp_path: Path,
    strategy: str,
    steps: int,
    together: Callable[..., None],
) -> None:
    config = settings.override(
        tiny_config,
        ["model.drop_path=0.0", f"run.steps={steps}", "run.checkpoint_every=5"],
    )
    pretrain(
        settings.override(config, ["run.batch_size=8"]), output=tmp_path / "one", progress=False
    )
    halves = settings.override(config, [f"run.strategy={strategy}"])
    together(partial(pretrain, halves, output=tmp_path / "two", progress=False), 2)
    for one, two in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        for name in ("loss", "grad_norm", "effective_rank", "drift"):
            assert two[name] == pytest.approx(one[name], rel=1e-3), (one["step"], name)
    alone, together = final_student(tmp_path / "one"), final_student(tmp_path / "two")
    assert alone.keys() == together.keys()
    moved = max(float((alone[name] - together[name]).abs().max()) for name in alone)
    assert moved < 1e-5  # 3e-7 when measured


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_run__two_processes_resume_exactly(
    tiny_config: Config,
    tmp_path: Path,
    strategy: str,
    together: Callable[..., None],
) -> None:
    config = settings.override(tiny_config, [f"run.strategy={strategy}", "run.batch_size=2"])
    together(partial(pretrain, config, output=tmp_path / "whole", progress=False), 2)
    together(partial(pretrain, config, output=tmp_path / "cut", progress=False), 2)
    for path in checkpoints.saved(tmp_path / "cut" / CHECKPOINTS_NAME)[1:]:
        path.unlink()
    together(partial(pretrain, config, output=tmp_path / "cut", progress=False), 2)
    whole, cut = final_student(tmp_path / "whole"), final_student(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
