"""The file of a tuned network: there and back, and refusals of other files."""

import json
from pathlib import Path

import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.contracts import fit_contract
from deo.errors import WeightsError
from deo.models import weight_files
from deo.models.sources import TUNED
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import Network, build_network
from deo.training.tasks.tuned import BEST, Description, load_tuned, save_tuned

DESCRIPTION = Description(
    task="segment",
    backbone="test_deo_swin",
    weights="untrained",
    bands=MODEL_BANDS.names,
    classes=("dark", "bright"),
    head="linear",
    width=8,
    contract=fit_contract("s2", bands=MODEL_BANDS).record(),
    dataset="toy",
    size=64,
    whole=True,
    score=0.5,
)


@pytest.fixture
def network() -> Network:
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True, seed=1).model
    return build_network("segment", backbone, classes=2, head="linear", width=8)


def test_tuned__there_and_back(network: Network, tmp_path: Path) -> None:
    save_tuned(network, DESCRIPTION, tmp_path / BEST)
    tuned = load_tuned(tmp_path)  # a folder means its best network
    assert tuned.description == DESCRIPTION
    assert tuned.contract == fit_contract("s2", bands=MODEL_BANDS)
    assert tuned.sha256 == weight_files.sha256(tmp_path / BEST)
    assert not tuned.network.training
    assert not any(parameter.requires_grad for parameter in tuned.network.parameters())
    images = torch.randn(1, 10, 32, 32)
    with torch.no_grad():
        assert torch.equal(tuned.network(images), network.eval()(images))


def test_load_tuned__refuses_other_files(network: Network, tmp_path: Path) -> None:
    path = tmp_path / BEST
    tensors = network.state_dict()
    weight_files.write(tensors, path, {})
    with pytest.raises(WeightsError, match="is no network tuned by deo finetune"):
        load_tuned(path)
    weight_files.write(tensors, path, {TUNED: json.dumps({"task": "segment"})})
    with pytest.raises(WeightsError, match="does not say which network it holds"):
        load_tuned(path)
    save_tuned(network, DESCRIPTION, path)
    stored = weight_files.read(path)
    assert stored.metadata is not None
    fewer = {name: tensor for name, tensor in tensors.items() if name != "head.score.bias"}
    weight_files.write(fewer, path, {TUNED: stored.metadata[TUNED]})
    with pytest.raises(WeightsError, match="does not fit test_deo_swin"):
        load_tuned(path)
    with pytest.raises(WeightsError):
        load_tuned(tmp_path / "none.safetensors")
