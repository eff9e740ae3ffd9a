"""Curves of a run."""

import json
from pathlib import Path

import pytest

from deo.errors import DataError, OutputError
from deo.training.run.plots import plot_run

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


def test_plot__leaves_out_what_is_no_number(tmp_path: Path) -> None:
    lines = '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": "nan"}\n{"step": 3, "loss": "lost"}\n'
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert plot_run(tmp_path, tmp_path / "curves.png").stat().st_size > 1000


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
