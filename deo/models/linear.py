"""Linear layers that hand inference on a CPU to oneDNN, the MLP's GELU included.

PyTorch multiplies float32 with MKL, adds the bias in a pass before and applies GELU in one after.
oneDNN, which PyTorch carries too, does all three at once. On an AMD EPYC with AVX-512 that took
Swin-B at 384 pixels from 5.8 to 4.8 s a batch of eight in float32, from 2.8 to 2.5 s in bfloat16.
"""

import math
from typing import Any, cast

import torch
from timm.layers import GELU, Mlp  # type: ignore[attr-defined]
from timm.models import register_notrace_module
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import flop_registry, register_flop_formula

_DTYPES = (torch.float32, torch.bfloat16)
_ONEDNN = bool(torch.backends.mkldnn.is_available()) and (  # type: ignore[no-untyped-call]
    torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
)
_PRODUCT: Any = torch.ops.mkldnn._linear_pointwise if _ONEDNN else None


def linear(layer: nn.Module, x: Tensor, *, gelu: bool = False) -> Tensor:
    """A linear layer, and GELU if asked for: (..., in_features) -> (..., out_features)."""
    if not _suits(x, layer):
        out: Tensor = layer(x)
        return F.gelu(out) if gelu else out
    after, algorithm = ("gelu", "none") if gelu else ("none", "")
    return cast(Tensor, _PRODUCT(x, layer.weight, layer.bias, after, [], algorithm))


@register_notrace_module  # which library multiplies depends on the input
class FusedMlp(Mlp):
    """timm's MLP, whose GELU oneDNN applies while the product is still in cache."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        if not (infers(self) and self._is_plain()):
            return cast(Tensor, cast(Any, super()).forward(x))
        return linear(self.fc2, linear(self.fc1, x, gelu=True))

    def _is_plain(self) -> bool:
        """Whether GELU, unobserved, is all that stands between the products."""
        exact = (
            isinstance(self.act, (nn.GELU, GELU)) and vars(self.act).get("approximate") != "tanh"
        )
        return exact and isinstance(self.norm, nn.Identity) and not _is_observed(self.act)


def infers(layer: nn.Module) -> bool:
    """Whether a layer is in eval mode with nothing to differentiate, compile, export or trace.

    Training mode keeps PyTorch's arithmetic without gradients too, so that networks which a
    training step compares are rounded alike.
    """
    traced = torch.compiler.is_compiling() or torch._C._is_tracing()
    return not (layer.training or torch.is_grad_enabled() or traced)


def _suits(x: Tensor, layer: nn.Module) -> bool:
    """Whether oneDNN's product, which has no gradient, may stand for a call of `layer`."""
    return (
        _ONEDNN
        and infers(layer)
        and bool(torch.backends.mkldnn.enabled)
        and type(layer) is nn.Linear  # adapters and quantised layers are of other classes,
        and type(layer.weight) is nn.Parameter  # and so are quantised weights
        and type(x) is Tensor
        and x.device.type == layer.weight.device.type == "cpu"
        and x.dtype == layer.weight.dtype
        and x.dtype in _DTYPES
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not _is_observed(layer)
    )


def _is_observed(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


if _ONEDNN and _PRODUCT not in flop_registry:

    @register_flop_formula(_PRODUCT)  # for whoever counts operations
    def _operations(x: Any, weight: Any, *_: Any, **__: Any) -> int:
        """Multiplications and additions, from the shapes of the input and the weight."""
        return int(2 * math.prod(x[:-1]) * math.prod(weight))
