"""Where metrics are written, and what is read back from them."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from deo.errors import DataError, OutputError
from deo.training.run.journal import JsonLines, TensorBoard, WeightsAndBiases, read_metrics


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
