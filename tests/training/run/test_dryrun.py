"""What a run would take: measured, said, and nothing written."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm

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


def test_dry_run__fetches_no_weights(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    create = timm.create_model

    def count(name: str, *, pretrained: bool = False, **options: object) -> object:
        if name == "vit_tiny_patch16_224":
            made.append(pretrained)
        return create(name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", count)
    optical = replace(
        tiny_config.optical, name="vit_tiny_patch16_224", weights=None, pretrained=True
    )
    report = dry_run(replace(tiny_config, optical=optical))
    assert made == [False]
    assert "vit_tiny_patch16_224: weights were not fetched, which a run does" in report
