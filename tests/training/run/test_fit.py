"""The run loop: observers, many processes, steps without a finite gradient."""

import json
import multiprocessing
import os
import socket
from contextlib import closing
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
from deo.training.run.flops import estimate_flops
from deo.training.run.monitors import RunStoppedError
from deo.training.run.pretraining import pretrain
from deo.training.run.state import State, build
from deo.training.run.step import StepRecord, fit

FORK = multiprocessing.get_context("fork")
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


def test_run__records_what_the_plan_names(tiny_config: Config, tmp_path: Path) -> None:
    state = pretrain(tiny_config, output=tmp_path, progress=False)
    lines = records(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert {line["epoch"] for line in lines} == {0, 1}
    wanted = {
        "loss", "comp", "expa", "cls", "patch", "effective_rank", "head_cosine", "drift",
        "grad_norm", "samples_per_second", "mfu", "wait_share", "memory_gib", "lr", "skipped",
    }  # fmt: skip
    assert wanted <= lines[-1].keys()
    assert 0 < lines[-1]["drift"] < 1
    assert settings.load(tmp_path / "config.toml") == tiny_config
    kept = [path.stem for path in checkpoints.saved(tmp_path / CHECKPOINTS_NAME)]
    assert kept == ["step-00000003", "step-00000006", "step-00000008"]
    assert estimate_flops(state) > 1e6


def join_processes(config: Config, output: Path, world_size: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        FORK.Process(target=join, args=(config, output, rank, world_size, port))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def join(config: Config, output: Path, rank: int, world_size: int, port: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(rank), WORLD_SIZE=str(world_size)
    )
    pretrain(config, output=output, progress=False)


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
    tiny_config: Config, tmp_path: Path, strategy: str, steps: int
) -> None:
    config = settings.override(
        tiny_config,
        ["model.drop_path=0.0", f"run.steps={steps}", "run.checkpoint_every=5"],
    )
    pretrain(
        settings.override(config, ["run.batch_size=8"]), output=tmp_path / "one", progress=False
    )
    halves = settings.override(config, [f"run.strategy={strategy}"])
    join_processes(halves, tmp_path / "two", 2)
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
    tiny_config: Config, tmp_path: Path, strategy: str
) -> None:
    config = settings.override(tiny_config, [f"run.strategy={strategy}", "run.batch_size=2"])
    join_processes(config, tmp_path / "whole", 2)
    join_processes(config, tmp_path / "cut", 2)
    for path in checkpoints.saved(tmp_path / "cut" / CHECKPOINTS_NAME)[1:]:
        path.unlink()
    join_processes(config, tmp_path / "cut", 2)
    whole, cut = final_student(tmp_path / "whole"), final_student(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Make the views of some steps infinite."""
    from deo.training.run import state as module

    real = module.configured_views

    def configured(config: Config) -> Any:
        make, count = real(config), iter(range(10_000))

        def views(images: Tensor, keys: Tensor, epoch: int) -> Any:
            made = list(make(images, keys, epoch))
            return [view * float("inf") for view in made] if next(count) in steps else made

        return views

    monkeypatch.setattr(module, "configured_views", configured)


def test_run__a_step_without_finite_gradient_is_skipped_dumped_and_counted(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, {2, 4})
    config = settings.override(tiny_config, ["run.log_every=3", "run.checkpoint_every=1"])
    state = pretrain(config, output=tmp_path, progress=False)
    assert all(parameter.isfinite().all() for parameter in state.student.parameters())
    assert [line["skipped"] for line in records(tmp_path)] == [0, 1, 2, 2]
    dumps = sorted((tmp_path / "nonfinite").iterdir())
    assert [path.name for path in dumps] == [
        "step-00000002-rank0.json",
        "step-00000004-rank0.json",
    ]
    dumped = json.loads(dumps[0].read_text())
    expected = Order(length=24, batch=4, seed=0).at(2).numbers.tolist()
    assert dumped["samples"] == expected
    assert dumped["grad_norm"] == "nan"


def test_run__stops_after_too_many_in_a_row(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, set(range(2, 8)))
    config = settings.override(tiny_config, ["monitor.nonfinite_limit=3"])
    with pytest.raises(RunStoppedError, match="3 steps in a row without a finite loss"):
        pretrain(config, output=tmp_path, progress=False)
    assert records(tmp_path)[-1]["step"] == 5
    assert records(tmp_path)[-1]["loss"] == "nan"
    assert checkpoints.saved(tmp_path / CHECKPOINTS_NAME)[-1].stem == "step-00000003"
