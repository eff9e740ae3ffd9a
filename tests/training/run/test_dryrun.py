"""What a run would take: measured, said, and nothing written."""

from pathlib import Path

import pytest

from deo.training.config import Config
from deo.training.run.dryrun import dry_run


def test_dry_run__says_time_and_memory_and_writes_nothing(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = dry_run(tiny_config)
    assert "24 samples, 6 steps per epoch, 8 steps in all, 1 process(es) on cpu" in report
    assert "GiB (resident" in report
    assert report.count(" s,") + report.count(" s (") == 2
    assert list(tmp_path.iterdir()) == []
