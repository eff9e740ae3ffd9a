from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from deo.errors import ConfigError
from deo.training import settings
from deo.training.config import Config
from deo.training.run.journal import read_metrics
from deo.training.run.pretraining import pretrain
from deo.training.tasks.benchmarks.eurosat import EUROSAT_CLASSES


def test_probe__probes_a_labelled_set(tiny_config: Config, tmp_path: Path) -> None:
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


def test_probe__refuses_a_benchmark_that_it_does_not_know(
    tiny_config: Config, tmp_path: Path
) -> None:
    config = settings.override(tiny_config, ["monitor.probe=moons=somewhere"])
    with pytest.raises(ConfigError, match=r"monitor\.probe names 'moons'"):
        pretrain(config, output=tmp_path / "run", progress=False)
