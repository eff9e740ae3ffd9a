"""A run small enough for a test: two dozen samples, a micro backbone, three small views."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deo.training import settings
from deo.training.config import Config
from deo.training.data.shards import write_shards
from deo.training.recipes import recipe


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 samples (10, 32, 32) uint16 that differ in level and texture."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    levels = rng.uniform(300, 4000, (24, 10, 1, 1))
    samples = levels * rng.uniform(0.5, 1.5, (24, 10, 32, 32))
    write_shards(folder, list(samples.astype(np.uint16)), per_shard=10)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_shards: Path) -> Config:
    """Eight steps of four samples, a checkpoint every third, a record of each; drop path on."""
    torch.set_num_threads(1)
    return settings.override(
        recipe("micro"),
        [
            f"data.source={tiny_shards}",
            "model.drop_path=0.3",
            "views.global_size=32",
            "views.local_size=16",
            "views.local_crops=1",
            "run.steps=8",
            "run.batch_size=4",
            "run.workers=0",
            "run.log_every=1",
            "run.checkpoint_every=3",
        ],
    )
