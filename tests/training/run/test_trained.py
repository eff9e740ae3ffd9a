"""A backbone read out of a run."""

import shutil
from pathlib import Path

import pytest
import torch

from deo.errors import DataError, WeightsError
from deo.models.weights import load_backbone
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import CHECKPOINTS_NAME
from deo.training.run.trained import load_trained


def images(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))


def test_load_trained__student_and_teacher_and_steps_differ(trained: Path) -> None:
    networks = [
        load_trained(trained),
        load_trained(trained, teacher=True),
        load_trained(trained, step=1),
    ]
    with torch.no_grad():
        outputs = [network.model(images(10)) for network in networks]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    with pytest.raises(DataError, match="no checkpoint of step 7; it has those of 1, 2"):
        load_trained(trained, step=7)


def test_load_trained__passes_over_a_damaged_checkpoint(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harmed = tmp_path / "run"
    shutil.copytree(trained, harmed)
    first, last = checkpoints.saved(harmed / CHECKPOINTS_NAME)
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert load_trained(harmed).provenance.step == 1
    assert str(first) in caplog.text
    assert str(last) in caplog.text
    for wanted in ({"run": harmed, "step": 2}, {"run": last}):
        with pytest.raises(WeightsError, match="damaged: it does not match its checksum"):
            load_trained(**wanted)
    with pytest.raises(WeightsError, match="damaged"):  # read as anybody's checkpoint
        load_backbone("test_deo_swin", weights=last)
    assert not list(tmp_path.glob("*.safetensors"))


def test_load_trained__names_the_data_shortly(trained: Path) -> None:
    assert load_trained(trained).provenance.data.keys() == {"samples", "fingerprint"}
