"""Two runs that have ended: one by self-distillation alone, one with an optical teacher."""

from pathlib import Path

import pytest

from deo.training import settings
from deo.training.config import Config
from deo.training.run.pretraining import pretrain


@pytest.fixture(scope="session")
def trained(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(tiny_config, ["run.steps=2", "run.checkpoint_every=1"])
    output = tmp_path_factory.mktemp("trained")
    pretrain(config, output=output, progress=False)
    return output


@pytest.fixture(scope="session")
def distilled(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(
        tiny_config, ["run.steps=1", "optical.name=test_vit", "optical.pretrained=false"]
    )
    output = tmp_path_factory.mktemp("distilled")
    pretrain(config, output=output, progress=False)
    return output
