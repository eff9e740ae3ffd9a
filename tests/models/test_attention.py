"""Kernels: the same numbers, chosen per model or for all."""

from collections.abc import Iterator

import pytest
import timm
import torch

from deo.errors import MissingExtraError, ModelError
from deo.models import attention

NAMES = ["test_deo_swin", "test_deo_vit"]


@pytest.fixture(autouse=True)
def default_kernel() -> Iterator[None]:
    yield
    attention.use_kernel(attention.DEFAULT)


def inputs(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 2, 49, 32)] * 3 + [(1, 2, 49, 49)]
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


@pytest.mark.parametrize("biased", [True, False])
def test_kernels__agree_on_values_and_gradients(biased: bool) -> None:
    found = {}
    for name in ("plain", "sdpa", "blocked"):
        tensors = [x.requires_grad_() for x in inputs()]
        q, k, v, bias = tensors
        out = attention.KERNELS[name](q, k, v, bias if biased else None, 0.0)
        out.square().sum().backward()
        found[name] = [out.detach(), *(x.grad for x in tensors if x.grad is not None)]
    assert len(found["plain"]) == 4 + biased
    for name in ("sdpa", "blocked"):
        for left, right in zip(found["plain"], found[name], strict=True):
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("block", [1, 2 * 49 * 49 * 4, 5 * 49 * 49 * 4, 2**22])
def test_blocked__agrees_in_blocks_of_any_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK_BYTES", block)
    q, k, v, bias = inputs()
    for own in (bias, None):
        wanted = attention.plain(q, k, v, own, 0.0)
        found = attention.blocked(q, k, v, own, 0.0)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_auto__computes_in_blocks_for_inference_on_a_cpu_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(attention.KERNELS, "sdpa", lambda *_: "sdpa")
    monkeypatch.setitem(attention.KERNELS, "blocked", lambda *_: "blocked")
    layer = timm.create_model("test_deo_swin").eval().layers[0].blocks[0]

    def choice(**where: object) -> object:
        return layer.attend(*(torch.empty(1, 2, length, 8, **where) for _ in range(3)), None, 0.0)

    length = 49
    assert choice() == "sdpa"  # there may be a gradient
    with torch.inference_mode():
        assert choice() == "blocked"
        assert choice(device="meta") == "sdpa"
        length = 300
        assert choice() == "sdpa"
        assert choice(dtype=torch.bfloat16) == "blocked"
        layer.train()
        assert choice(dtype=torch.bfloat16) == "sdpa"


@pytest.mark.parametrize("name", NAMES)
def test_use_kernel__of_one_model_or_of_all_changes_no_feature(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    for kernel, function in dict(attention.KERNELS).items():
        monkeypatch.setitem(
            attention.KERNELS,
            kernel,
            lambda *args, kernel=kernel, function=function: (
                called.append(kernel) or function(*args)
            ),
        )

    def kernels_of(model: torch.nn.Module) -> set[str]:
        called.clear()
        model(x)
        return set(called)

    torch.manual_seed(0)
    model, other = timm.create_model(name).eval(), timm.create_model(name).eval()
    x = torch.randn(1, 10, 72, 56)
    fused = model(x)
    assert kernels_of(model) == {"sdpa"}
    attention.use_kernel("plain", model=model)
    assert kernels_of(model) == {"plain"}
    assert kernels_of(other) == {"sdpa"}
    torch.testing.assert_close(model(x), fused, atol=1e-5, rtol=1e-5)
    attention.use_kernel("plain")
    assert kernels_of(other) == {"plain"}
    attention.use_kernel("sdpa", model=model)
    assert kernels_of(model) == {"sdpa"}


def test_use_kernel__reaches_inside_features_only() -> None:
    model = timm.create_model("test_deo_swin", features_only=True)
    attention.use_kernel("plain", model=model)
    layers = [m for m in model.modules() if isinstance(m, attention.KernelChoice)]
    assert len(layers) == 8
    assert all(layer.kernel == "plain" for layer in layers)


def test_use_kernel__refuses_what_it_does_not_know() -> None:
    with pytest.raises(ModelError, match="'flash'; known are auto, sdpa, blocked, xformers, plain"):
        attention.use_kernel("flash")
    with pytest.raises(ModelError, match="Linear has no attention"):
        attention.use_kernel("plain", model=torch.nn.Linear(1, 1))


def test_use_kernel__xformers_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xformers", None)
    monkeypatch.setitem(__import__("sys").modules, "xformers.ops", None)
    with pytest.raises(MissingExtraError, match=r'pip install "deo\[xformers\]"'):
        attention.use_kernel("xformers")


def test_global_attention__is_causal_when_asked() -> None:
    layer = timm.create_model("test_deo_vit").eval().blocks[0].attn
    x = torch.randn(1, 5, 32)
    first = layer(x[:, :1])
    torch.testing.assert_close(layer(x, is_causal=True)[:, :1], first)


@pytest.mark.parametrize("kernel", ["auto", "sdpa", "blocked", "plain"])
def test_global_attention__masks_are_boolean_or_added_and_join_the_causal_one(kernel: str) -> None:
    attention.use_kernel(kernel)
    layer = timm.create_model("test_deo_vit").eval().blocks[0].attn
    x = torch.randn(1, 5, 32)
    seen = torch.tensor([True, True, False, True, True]).expand(1, 1, 5, 5)
    added = torch.zeros(1, 1, 5, 5).masked_fill(~seen, float("-inf"))
    with torch.no_grad():
        torch.testing.assert_close(layer(x, attn_mask=seen), layer(x, attn_mask=added))
        without = layer(x[:, [0, 1, 3, 4]], is_causal=True)
        found = layer(x, attn_mask=seen, is_causal=True)[:, [0, 1, 3, 4]]
        torch.testing.assert_close(found, without, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [49, 50, 144])
def test_xformers__equals_plain_with_its_bias(length: int) -> None:
    pytest.importorskip("xformers.ops")
    q, k, v = (torch.randn(6, 2, length, 32, device="cuda") for _ in range(3))
    bias = torch.randn(1, 2, length, length, device="cuda")
    tensors = [x.requires_grad_() for x in (q, k, v, bias)]
    wanted = attention.plain(*tensors, 0.0)
    found = attention.xformers(*tensors, 0.0)
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=2e-3)
    grads = [torch.autograd.grad(out.square().sum(), tensors) for out in (found, wanted)]
    for left, right in zip(*grads, strict=True):
        torch.testing.assert_close(left, right, atol=2e-2, rtol=2e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_xformers__gives_the_features_of_sdpa(name: str) -> None:
    pytest.importorskip("xformers.ops")
    model = timm.create_model(name).eval().cuda()
    x = torch.randn(2, 10, 72, 56, device="cuda")
    with torch.no_grad():
        wanted = model(x)
        attention.use_kernel("xformers", model=model)
        torch.testing.assert_close(model(x), wanted, atol=2e-3, rtol=2e-3)
