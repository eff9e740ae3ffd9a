"""Linear layers by oneDNN: the same function, and out of the way where it cannot serve."""

from typing import Any

import pytest
import timm
import torch
from timm.layers import Mlp
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deo.models import linear


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every product that oneDNN is asked for: whether GELU goes with it."""
    if not linear._ONEDNN:
        pytest.skip("no oneDNN, or a processor without AVX2")
    found: list[bool] = []
    inner = linear._PRODUCT

    def counted(*args: Any) -> torch.Tensor:
        found.append(args[3] == "gelu")
        return inner(*args)

    monkeypatch.setattr(linear, "_PRODUCT", counted)
    return found


def mlp(**settings: float) -> Mlp:
    torch.manual_seed(0)
    layer = Mlp(16, 64, **settings).eval()
    layer.__class__ = linear.FusedMlp
    return layer


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_fused_mlp__is_the_mlp(calls: list[bool], dtype: torch.dtype, tolerance: float) -> None:
    layer = mlp().to(dtype)
    x = torch.randn(3, 5, 16).to(dtype)
    wanted = layer(x)
    assert calls == []
    with torch.no_grad():
        found = layer(x)
        torch.testing.assert_close(
            layer(x.mT.contiguous().mT), found, atol=tolerance, rtol=tolerance
        )
    assert calls == [True, False] * 2
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)


def test_models__take_it_for_inference_alone(calls: list[bool]) -> None:
    for name in ("test_deo_swin", "test_deo_vit"):
        model, x = timm.create_model(name, num_classes=0).eval(), torch.randn(1, 10, 64, 64)
        wanted = model(x)
        assert not calls
        with torch.inference_mode():
            torch.testing.assert_close(model(x), wanted, atol=1e-5, rtol=1e-5)
        assert True in calls
        assert False in calls
        calls.clear()


def test_fused_mlp__stands_back_for_dropout_and_hooks(calls: list[bool]) -> None:
    x = torch.randn(2, 16)
    with torch.no_grad():
        mlp(drop=0.5).train()(x)
        watched, seen = mlp(), []
        watched.fc1.register_forward_hook(lambda layer, args, out: seen.append(out))
        watched(x)
        assert True not in calls
        torch.testing.assert_close(
            seen[0], nn.functional.linear(x, watched.fc1.weight, watched.fc1.bias)
        )
        other = mlp()
        other.act = nn.GELU(approximate="tanh")
        other(x)
    assert True not in calls


@pytest.mark.parametrize("autocast", [True, False])
def test_linear__leaves_other_types_to_pytorch(calls: list[bool], autocast: bool) -> None:
    dtype = torch.float32 if autocast else torch.float64
    layer = mlp().to(dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert layer(torch.randn(2, 16, dtype=dtype)).dtype == (
            torch.bfloat16 if autocast else dtype
        )
        assert mlp()(torch.randn(0, 16)).shape == (0, 16)
    assert calls == []


def test_linear__counts_its_operations(calls: list[bool]) -> None:
    layer, x = mlp(), torch.randn(3, 5, 16)
    with FlopCounterMode(display=False) as wanted:
        layer(x)
    with torch.no_grad(), FlopCounterMode(display=False) as found:
        layer(x)
    assert len(calls) == 2
    assert found.get_total_flops() == wanted.get_total_flops() == 2 * 2 * 15 * 16 * 64
