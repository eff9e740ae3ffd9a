"""What is watched: collapse, steps without a finite gradient, speed; and where it is written."""

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deo.errors import DataError, OutputError
from deo.training import settings
from deo.training.config import Config
from deo.training.run.flops import peak_flops
from deo.training.run.journal import JsonLines, TensorBoard, WeightsAndBiases, read_metrics
from deo.training.run.monitors import (
    Collapse,
    CollapseAlarm,
    FiniteGuard,
    RunStoppedError,
    Speedometer,
    drift,
    memory_gib,
)
from deo.training.run.plots import plot_run
from deo.training.run.pretraining import pretrain
from deo.training.run.progress import Progress, describe

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


def test_peak_flops__unknown_on_cpu() -> None:
    assert peak_flops(torch.device("cpu")) is None
    assert 0.05 < memory_gib(torch.device("cpu")) < 100


def test_drift__is_relative() -> None:
    student = [torch.full((3,), 2.0), torch.zeros(2)]
    assert float(drift(student, [tensor * 0.75 for tensor in student])) == pytest.approx(0.25)


def test_jsonl__resuming_drops_what_is_walked_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path, resume_at=0)
    for step in (1, 2, 3):
        first.write({"step": step, "loss": float("nan") if step == 2 else 0.5})
    first.close()
    path.write_text(path.read_text() + '{"step": 4, "lo')
    second = JsonLines(path, resume_at=2)
    second.write({"step": 3, "loss": 0.25})
    second.close()
    assert read_metrics(path) == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": "nan"},
        {"step": 3, "loss": 0.25},
    ]


def test_jsonl__unwritable_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        JsonLines(tmp_path / "none" / "metrics.jsonl", resume_at=0)
    with pytest.raises(DataError, match="does not exist"):
        read_metrics(tmp_path / "metrics.jsonl")


DAMAGE = [
    b"no",
    b"\x00\xff\xfe binary",
    b"[1, 2]",
    b'"text"',
    b"7",
    b"{}",
    b'{"loss": 1}',
    b'{"step": "2"}',
    b'{"step": true}',
    b'{"step": 2, "loss": [1]}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_jsonl__damaged_lines_are_left_out_with_a_warning(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 2, "loss": null}\n')
    assert read_metrics(path) == [{"step": 1}, {"step": 2, "loss": None}]
    assert "1 damaged line(s) left out, the first is line 2" in caplog.text
    caplog.clear()
    path.write_bytes(b'{"step": 1}\n' + damage)  # the last line, cut by a kill
    assert read_metrics(path) == [{"step": 1}]
    assert not caplog.text
    JsonLines(path, resume_at=1).close()
    assert path.read_bytes() == b'{"step": 1}\n'


def test_plot__leaves_out_what_is_no_number(tmp_path: Path) -> None:
    lines = '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": "nan"}\n{"step": 3, "loss": "lost"}\n'
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert plot_run(tmp_path, tmp_path / "curves.png").stat().st_size > 1000


def test_tensorboard__holds_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path, resume_at=0)
    board.write({"step": 3, "loss": 0.5, "alarm": None, "time": "now"})
    board.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]


def test_wandb__takes_the_numbers_and_resumes_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            said.append((values, step))

        def finish(self) -> None:
            said.append("finished")

    def init(**options: Any) -> Run:
        said.append((options["id"], options["resume"], options["config"]))
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    folder, namesake = tmp_path / "one" / "run", tmp_path / "other" / "run"
    for path in (folder, namesake):
        path.mkdir(parents=True)
    sink = WeightsAndBiases(folder, {"seed": 1})
    sink.write({"step": 3, "loss": 0.5, "alarm": None})
    sink.close()
    (name, *options), *rest = said
    assert options == ["allow", {"seed": 1}]
    assert rest == [({"loss": 0.5}, 3), "finished"]
    WeightsAndBiases(folder, {"seed": 1})
    assert said[-1] == said[0]
    WeightsAndBiases(namesake, {"seed": 1})
    assert said[-1][0] != name


RECORD = {
    "step": 20,
    "loss": -1.5,
    "head_cosine": 0.1,
    "effective_rank": 12.0,
    "grad_norm": 2.0,
    "samples_per_second": 100.0,
    "wait_share": 0.01,
    "eta_seconds": 3723.0,
}


def test_progress__a_plain_line_in_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as file:
        line = Progress(done=0, steps=40, stream=file)
        line.write(RECORD)
        line.close()
        file.seek(0)
        text = file.read()
    assert text.startswith("step 20/40  loss -1.500  cos 0.10  rank 12.0")
    assert text.endswith("wait 1.0%  1:02:03 left\n")


def test_describe__names_what_is_unusual() -> None:
    assert describe({**RECORD, "probe": 0.5, "skipped": 2}).endswith("kNN 50.0%  2 skipped")


def test_plot__draws_what_is_there(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [json.dumps({**RECORD, "step": step, "loss": "nan"}) for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    path = plot_run(tmp_path, tmp_path / "curves.png")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) > 10_000
    with pytest.raises(OutputError, match="cannot write"):
        plot_run(tmp_path, tmp_path / "none" / "curves.png")
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(DataError, match="no curve"):
        plot_run(tmp_path, tmp_path / "curves.png")


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


def test_run__probes_a_labelled_set(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rasterio
    from affine import Affine

    from deo.training.tasks.benchmarks.eurosat import EUROSAT_CLASSES

    rng = np.random.default_rng(0)
    for level, name in enumerate(EUROSAT_CLASSES):
        (tmp_path / "eurosat" / name).mkdir(parents=True)
        for number in range(6):
            values = rng.integers(400, 900, (13, 16, 16)) + 300 * level
            values[9] = 10
            with rasterio.open(
                tmp_path / "eurosat" / name / f"{name}_{number}.tif", "w", driver="GTiff",
                count=13, height=16, width=16, dtype="uint16", crs="EPSG:32631",
                transform=Affine(10, 0, 0, 0, -10, 0),
            ) as raster:  # fmt: skip
                raster.write(values.astype(np.uint16))
    config = settings.override(
        tiny_config,
        [
            f"monitor.probe={tmp_path / 'eurosat'}",
            "monitor.probe_every=1",
            "run.log_every=4",
            "run.steps=7",
        ],
    )
    pretrain(config, output=tmp_path / "run", progress=False)
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    probed = {record["step"]: record["probe"] for record in records if "probe" in record}
    assert probed.keys() == {6, 7}  # the end of the first epoch, and of the run
    assert all(0.1 < accuracy <= 1 for accuracy in probed.values())
