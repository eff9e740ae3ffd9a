"""Backbones for tasks: ours strictly, any other through timm."""

from pathlib import Path

import pytest
import timm
import torch

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import ConfigError, ModelError, WeightsError
from deo.training.tasks.backbones import input_side, open_backbone

FOUR = BandSet(["B08", "B04", "B03", "B02"])


@pytest.mark.parametrize("name", ["test_deo_swin", "test_vit"])
def test_open_backbone__maps_of_the_bands_asked_for(name: str) -> None:
    loaded = open_backbone(name, bands=FOUR, untrained=True)
    assert loaded.bands == FOUR
    assert (loaded.weights.model, loaded.weights.source) == (name, "untrained")
    size = input_side(loaded.model) or 64
    maps = loaded.model(torch.zeros(1, 4, size, size))
    assert [tuple(m.shape[:2]) for m in maps] == [
        (1, width) for width in loaded.model.feature_info.channels()
    ]


@pytest.mark.parametrize("name", ["test_deo_swin", "test_vit"])
def test_open_backbone__the_seed_decides_random_weights(name: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        return open_backbone(name, untrained=True, seed=seed).model.state_dict()

    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    one, same, other = weights(1), weights(1), weights(2)
    assert torch.equal(torch.rand(2), wanted)  # the global generator is left alone
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_open_backbone__says_what_it_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"unknown model 'deo_swim'; choose one of deo_swin_t"):
        open_backbone("deo_swim", bands=MODEL_BANDS)
    with pytest.raises(ConfigError, match="test_vit is timm's own"):
        open_backbone("test_vit", weights=tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="cannot read weights"):
        open_backbone("test_deo_swin", weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no route"), r"cannot be downloaded \(no route\); use --untrained"),
        (RuntimeError("no stages"), "test_vit gives no feature maps: no stages"),
    ],
)
def test_open_backbone__explains_what_timm_raises(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(ModelError, match=message):
        open_backbone("test_vit")


def test_input_side__fixed_or_any() -> None:
    assert input_side(open_backbone("test_deo_swin", untrained=True).model) is None
    assert input_side(open_backbone("test_vit", untrained=True).model) == 160
