"""Swin against torchvision's own, size by size, values and gradients."""

import pytest
import timm
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.swin_transformer import SwinTransformer

from deo.models import convert

SIDES = st.integers(4, 160)
SLOW_SIDES = st.integers(4, 420)


class Published(nn.Module):
    """torchvision's trunk without its patch embedding, behind one of two stems."""

    def __init__(self, window: int) -> None:
        super().__init__()
        trunk = SwinTransformer([4, 4], 24, [2, 2, 2, 2], [1, 2, 4, 8], [window, window])
        self.features = nn.Sequential(*list(trunk.features)[1:])
        self.norm = trunk.norm
        self.conv_ms = self.stem(10)
        self.conv_rgb = self.stem(3)

    @staticmethod
    def stem(width: int) -> nn.Sequential:
        conv = nn.Conv2d(width, 24, 4, stride=4)
        return nn.Sequential(conv, nn.Identity(), nn.LayerNorm(24, eps=1e-5))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        conv, _, norm = self.conv_rgb if x.shape[1] == 3 else self.conv_ms
        x = norm(conv(x).permute(0, 2, 3, 1))
        stages = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index % 2 == 0:
                stages.append(x.permute(0, 3, 1, 2))
        return stages


def pair(window: int, dtype: torch.dtype = torch.float32) -> tuple[Published, nn.Module]:
    """The published network with random weights, every bias and table away from zero, and ours."""
    torch.manual_seed(window)
    published = Published(window).eval().to(dtype)
    with torch.no_grad():
        for name, parameter in published.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (1.0 if "table" in name else 0.05))
    ours = timm.create_model("deo_swin_n", window_size=window).eval().to(dtype)
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    tensors = convert.to_deo(published.state_dict(), shapes, model="deo_swin_n").tensors
    ours.load_state_dict(tensors)
    return published, ours


PAIRS = {window: pair(window) for window in (7, 12)}


def largest_difference(window: int, height: int, width: int, channels: int = 10) -> float:
    published, ours = PAIRS[window]
    x = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(height))
    with torch.no_grad():
        wanted = published(x)
        found = ours.forward_intermediates(x, intermediates_only=True)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    return max((f - w).abs().max().item() for f, w in zip(found, wanted, strict=True))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(window=12, height=224, width=224)  # every stage pads
@example(window=7, height=224, width=224)  # no stage pads
@example(window=12, height=384, width=96)
@example(window=7, height=4, width=5)  # smaller than a window everywhere, and a dropped column
@given(window=st.sampled_from([7, 12]), height=SIDES, width=SIDES)
def test_forward__equals_torchvision(window: int, height: int, width: int) -> None:
    assert largest_difference(window, height, width) < 1e-4


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(window=st.sampled_from([7, 12]), height=SLOW_SIDES, width=SLOW_SIDES)
def test_forward__equals_torchvision_at_200_sizes(window: int, height: int, width: int) -> None:
    assert largest_difference(window, height, width) < 1e-4


def test_forward__equals_torchvision_on_three_channels() -> None:
    assert largest_difference(12, 100, 132, channels=3) < 1e-4


@pytest.mark.parametrize("window", [7, 12])
def test_backward__equals_torchvision(window: int) -> None:
    published, ours = pair(window, torch.float64)
    x = torch.randn(2, 10, 116, 92, dtype=torch.float64)
    wanted_x, found_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    sum(f.square().sum() for f in published(wanted_x)).backward()
    maps = ours.forward_intermediates(found_x, intermediates_only=True)
    sum(f.square().sum() for f in maps).backward()
    torch.testing.assert_close(found_x.grad, wanted_x.grad)
    names = {convert.our_name(name): name for name, _ in published.named_parameters()}
    wanted = {name: published.get_parameter(old).grad for name, old in names.items()}
    for name, parameter in ours.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, wanted[name], msg=name)
    without = {name for name, p in ours.named_parameters() if p.grad is None}
    assert {name.rsplit(".", 1)[0] for name in without} == {
        "patch_embed.rgb.proj", "patch_embed.rgb.norm", "norm",
    }  # fmt: skip


def test_set_input_size__keeps_the_windows_and_the_features() -> None:
    _, ours = PAIRS[7]
    x = torch.randn(1, 10, 96, 64)
    with torch.no_grad():
        before = ours(x)
        ours.set_input_size((96, 64))
        assert ours.layers[0].blocks[0].window_size == (7, 7)
        assert torch.equal(ours(x), before)
    assert ours.patch_embed.grid_size == (24, 16)
    ours.set_input_size((224, 224))


@pytest.mark.filterwarnings("ignore::UserWarning")  # from inside timm, which resizes the bias table
def test_set_input_size__takes_a_window_when_asked() -> None:
    model = timm.create_model("test_deo_swin", in_chans=10)
    model.set_input_size(window_size=(8, 8))
    assert model.layers[0].blocks[1].window_size == (8, 8)
    assert model.layers[0].blocks[1].shift_size == (4, 4)
    assert model(torch.randn(1, 10, 40, 72)).shape == (1, 128)


def test_forward__bfloat16_stays_near() -> None:
    torch.manual_seed(0)
    model = timm.create_model("deo_swin_n", in_chans=10, window_size=12).eval()
    x = torch.randn(1, 10, 224, 224)
    with torch.no_grad():
        wanted = model(x)
        found = model.to(torch.bfloat16)(x.to(torch.bfloat16)).float()
    assert torch.nn.functional.cosine_similarity(found, wanted).item() > 0.999


def test_forward__an_odd_batch_of_slices_is_the_batch() -> None:
    _, ours = PAIRS[12]
    x = torch.randn(3, 10, 72, 104)
    with torch.no_grad():
        whole = ours(x)
        alone = torch.cat([ours(one) for one in x.split(1)])
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)
