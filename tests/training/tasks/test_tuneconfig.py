"""Settings, rates and parameter groups of tuning."""

import numpy as np
import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.errors import ConfigError
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import build_network
from deo.training.tasks.tuneconfig import TuneConfig, parameter_groups, set_rate


def test_set_rate__warms_up_then_falls_and_scales_by_group() -> None:
    config = TuneConfig(warmup=2, rate=1.0)
    groups = [
        {"params": [torch.zeros(1)]},
        {"params": [torch.zeros(1)], "lr_scale": 0.25},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1.0)
    rates = []
    for epoch in (0.5, 2.0, 6.0, 10.0):
        set_rate(optimiser, config, epoch, epochs=10)
        rates.append(optimiser.param_groups[0]["lr"])
        assert optimiser.param_groups[1]["lr"] == 0.25 * rates[-1]
    assert rates == pytest.approx([0.25, 1.0, 0.5, 0.0], abs=1e-12)


def test_parameter_groups__deeper_layers_learn_faster_and_all_are_there() -> None:
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
    network = build_network("segment", backbone, classes=2, head="linear", width=8)
    groups = parameter_groups(network, TuneConfig(layer_decay=0.5))
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in network.parameters()}
    assert len(grouped) == len({id(p) for p in grouped})
    scale = {id(p): group.get("lr_scale", 1.0) for group in groups for p in group["params"]}
    stem = scale[id(next(iter(backbone.parameters())))]
    deep = [
        p for name, p in backbone.named_parameters() if "layers.3" in name or "layers_3" in name
    ]
    assert stem < 0.1 < scale[id(deep[-1])] <= scale[id(network.head.score.weight)] == 1
    assert all(not group["weight_decay"] for group in groups for p in group["params"] if p.ndim < 2)


def test_parameter_groups__frozen_leaves_the_head() -> None:
    backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
    network = build_network("segment", backbone, classes=2, head="linear", width=8, frozen=True)
    groups = parameter_groups(network, TuneConfig(frozen=True))
    assert sum(len(group["params"]) for group in groups) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "dice"}, "no loss 'dice'; choose one of bce, ce"),
        ({"head": "unet"}, "no head 'unet'"),
        ({"epochs": 0, "warmup": 0}, "epochs is 0"),
        ({"warmup": 60, "epochs": 50}, "warmup of 60 epochs does not fit 50"),
        ({"epochs": 5, "steps": 50}, "epochs and steps both say how long"),
        ({"balance": "yes"}, "no balance 'yes'; choose one of auto, on, off"),
        ({"rate": 0.0}, "rate is 0"),
        ({"layer_decay": 1.5}, "layer_decay is 1.5"),
        ({"layer_decay": 0.7, "frozen": True}, "drop --frozen"),
    ],
)
def test_config__refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TuneConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"crop": 0}, {"patience": -1}, {"rate": np.inf}, {"weight_decay": np.nan}]
)
def test_config__refuses_numbers_that_cannot_work(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))} is"):
        TuneConfig(**change)  # type: ignore[arg-type]


def test_settled__a_head_and_its_width() -> None:
    assert (TuneConfig().settled().head, TuneConfig().settled().width) == ("fusion", 32)
    assert TuneConfig(head="upernet").settled().width == 512
    assert TuneConfig(width=8).settled().width == 8
