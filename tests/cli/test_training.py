"""The documented sequence in miniature: prepare, pretrain, kill, resume, export, extract."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import BandError
from deo.sensors.known.sentinel2 import SENTINEL2

SETTINGS = (
    "steps=16", "checkpoint_every=3", "batch_size=4", "workers=1", "log_every=1",
    "global_size=32", "local_size=16", "local_crops=1",
)  # fmt: skip


def deo(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_scene(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(500, 4000, (13, 12, 12))
    values = np.kron(coarse, np.ones((1, 8, 8))) * rng.uniform(0.9, 1.1, (13, 96, 96))
    with rasterio.open(
        path, "w", driver="GTiff", count=13, height=96, width=96, dtype="uint16", nodata=0,
        crs="EPSG:32631", transform=Affine(10, 0, 500000, 0, -10, 5000000),
    ) as raster:  # fmt: skip
        raster.write(values.astype(np.uint16))
        for number, band in enumerate(SENTINEL2, start=1):
            raster.set_band_description(number, band.name)


def start_pretraining(shards: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deo.training.pretrain", "--recipe", "micro"]
    command += ["--data", str(shards), "--output", str(output)]
    for setting in SETTINGS:
        command += ["--set", setting]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def steps_recorded(output: Path) -> int:
    metrics = output / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0


def test_sequence__from_scenes_to_features(tmp_path: Path) -> None:
    scenes, shards, output = tmp_path / "scenes", tmp_path / "shards", tmp_path / "run"
    scenes.mkdir()
    for seed in range(2):
        write_scene(scenes / f"city_{seed}.tif", seed)
    prepared = deo("prepare", scenes, "-o", shards, "--size", 48, "--stride", 24)
    assert "18 samples" in prepared.output
    assert "| B8A |" in prepared.output

    process = start_pretraining(shards, output)
    while steps_recorded(output) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 75
    stopped = sorted((output / "checkpoints").glob("step-*.pt"))[-1]
    assert 3 <= int(stopped.stem[5:]) < 16

    flags = [part for setting in SETTINGS for part in ("--set", setting)]
    again = deo("pretrain", "--recipe", "micro", "--data", shards, "--output", output, *flags)
    assert "finished 16 steps" in again.output
    assert steps_recorded(output) == 16

    weights = tmp_path / "model.safetensors"
    assert str(weights) in deo("export", output, "-o", weights).output
    features = tmp_path / "features.tif"
    deo(
        "extract", scenes / "city_0.tif", "-o", features, "--weights", weights,
    )  # fmt: skip
    with rasterio.open(features) as raster:
        assert raster.crs.to_epsg() == 32631
        assert np.isfinite(raster.read()).all()
        assert raster.read().std() > 0

    pytest.importorskip("matplotlib")
    assert str(output / "curves.png") in deo("plot", output).output
    assert (output / "curves.png").stat().st_size > 10_000


def test_pretrain__help_and_errors_are_its_own(tmp_path: Path) -> None:
    assert "--dry-run" in deo("pretrain", "--help").output
    result = CliRunner().invoke(cli, ["pretrain", "--recipe", "mikro", "--data", str(tmp_path)])
    assert "did you mean micro" in str(result.exception)


def test_prepare__bad_bands_are_said(tmp_path: Path) -> None:
    with pytest.raises(BandError, match="unknown band 'B99'"):
        deo("prepare", tmp_path, "-o", tmp_path / "out", "--bands", "B02,B99")
