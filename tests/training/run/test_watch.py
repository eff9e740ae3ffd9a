"""The observer of a run: what it records, and what it does with steps without a gradient."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from deo.training import settings
from deo.training.config import Config
from deo.training.data.order import Order
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.flops import estimate_flops
from deo.training.run.monitors import RunStoppedError
from deo.training.run.pretraining import pretrain


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_watch__records_what_the_plan_names(tiny_config: Config, tmp_path: Path) -> None:
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


def test_watch__a_step_without_finite_gradient_is_skipped_dumped_and_counted(
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


def test_watch__stops_after_too_many_in_a_row(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, set(range(2, 8)))
    config = settings.override(tiny_config, ["monitor.nonfinite_limit=3"])
    with pytest.raises(RunStoppedError, match="3 steps in a row without a finite loss"):
        pretrain(config, output=tmp_path, progress=False)
    assert records(tmp_path)[-1]["step"] == 5
    assert records(tmp_path)[-1]["loss"] == "nan"
    assert checkpoints.saved(tmp_path / CHECKPOINTS_NAME)[-1].stem == "step-00000003"
