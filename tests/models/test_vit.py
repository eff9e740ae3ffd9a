"""ViT against a plain statement of DINO's network, size by size."""

import math

import pytest
import timm
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from deo.models.vit import resample_positions

PATCH = 16


def dino_positions(pos_embed: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """DINO's interpolation as published: the sides in pixels decide, 0.1 guards the rounding."""
    patches = (height // PATCH) * (width // PATCH)
    known = pos_embed.shape[1] - 1
    if patches == known and height == width:
        return pos_embed
    side = int(math.sqrt(known))
    grid = pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    rows, columns = height // PATCH + 0.1, width // PATCH + 0.1
    grid = F.interpolate(grid, scale_factor=(rows / side, columns / side), mode="bicubic")
    assert grid.shape[2:] == (int(rows), int(columns))
    return torch.cat([pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, patches, -1)], dim=1)


def dino_features(p: dict[str, torch.Tensor], x: torch.Tensor, heads: int) -> list[torch.Tensor]:
    """The output of every block of a ViT with parameters `p`, written out."""
    stem = "ms" if x.shape[1] == 10 else "rgb"
    tokens = F.conv2d(
        x, p[f"patch_embed.{stem}.proj.weight"], p[f"patch_embed.{stem}.proj.bias"], stride=PATCH
    )
    tokens = torch.cat([p["cls_token"].expand(len(x), -1, -1), tokens.flatten(2).mT], dim=1)
    y = tokens + dino_positions(p["pos_embed"], *x.shape[2:])
    features = []
    for block in (f"blocks.{i}" for i in range(4)):

        def linear(z: torch.Tensor, name: str, block: str = block) -> torch.Tensor:
            return F.linear(z, p[f"{block}.{name}.weight"], p[f"{block}.{name}.bias"])

        def norm(z: torch.Tensor, name: str, block: str = block) -> torch.Tensor:
            weight, bias = p[f"{block}.{name}.weight"], p[f"{block}.{name}.bias"]
            return F.layer_norm(z, z.shape[-1:], weight, bias, eps=1e-6)

        qkv = linear(norm(y, "norm1"), "attn.qkv")
        q, k, v = (z.unflatten(2, (heads, -1)).transpose(1, 2) for z in qkv.chunk(3, dim=-1))
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)
        y = y + linear((weights @ v).transpose(1, 2).flatten(2), "attn.proj")
        y = y + linear(F.gelu(linear(norm(y, "norm2"), "mlp.fc1")), "mlp.fc2")
        features.append(y)
    return features


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("test_deo_vit").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(height=64, width=64, channels=3)  # as trained
@example(height=70, width=64, channels=10)  # the trained grid, but DINO resamples all the same
@example(height=70, width=70, channels=10)  # the trained grid, and it does not
@example(height=32, width=128, channels=10)  # as many patches in another shape
@given(
    height=st.integers(PATCH, 300), width=st.integers(PATCH, 300), channels=st.sampled_from([3, 10])
)
def test_forward__equals_dino(
    model: torch.nn.Module, height: int, width: int, channels: int
) -> None:
    x = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(width))
    with torch.no_grad():
        wanted = dino_features(dict(model.named_parameters()), x, heads=2)
        pairs = model.forward_intermediates(
            x, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
    found = [torch.cat([first, rest], dim=1) for rest, first in pairs]
    assert max((f - w).abs().max().item() for f, w in zip(found, wanted, strict=True)) < 1e-4


def test_resample_positions__differentiable() -> None:
    positions = torch.randn(1, 1 + 4, 2, dtype=torch.float64, requires_grad=True)

    def resampled(positions: torch.Tensor) -> torch.Tensor:
        return resample_positions(positions, (2, 2), (3, 5), pixels=(3, 5)).double()

    # the kernel runs in float32
    assert torch.autograd.gradcheck(resampled, positions, eps=1e-2, atol=1e-3, rtol=1e-2)


def test_set_input_size__keeps_the_features_of_that_size(model: torch.nn.Module) -> None:
    x = torch.randn(1, 10, 96, 160)
    resized = timm.create_model("test_deo_vit").eval()
    resized.load_state_dict(model.state_dict())
    with torch.no_grad():
        wanted = resized.forward_features(x)
        resized.set_input_size((96, 160))
        assert resized.pos_embed.shape == (1, 1 + 6 * 10, 32)
        assert resized.pos_embed.requires_grad
        torch.testing.assert_close(resized.forward_features(x), wanted)


def test_set_input_size__same_size_changes_nothing(model: torch.nn.Module) -> None:
    before = model.pos_embed.clone()
    model.set_input_size((64, 64))
    assert torch.equal(model.pos_embed, before)


@pytest.mark.parametrize("pool", ["avg", "max", "token"])
def test_global_pool__keeps_the_published_final_norm(pool: str) -> None:
    model = timm.create_model("test_deo_vit", global_pool=pool)
    assert isinstance(model.norm, torch.nn.LayerNorm)
    assert isinstance(model.fc_norm, torch.nn.Identity)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 32)
