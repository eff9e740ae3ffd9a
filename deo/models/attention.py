"""Which attention kernel runs: PyTorch's fused one, xFormers' or the plain formula.

All compute softmax(q k' / sqrt(d) + bias) v for q, k, v of shape (B, heads, L, d) and a bias that
broadcasts to (B, heads, L, L).
"""

from collections.abc import Callable

import torch
from timm.models import register_notrace_module
from timm.models.vision_transformer import Attention  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn import functional as F

from deo.errors import ModelError, require

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def sdpa(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """PyTorch's fused attention."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """The formula as it is written; holds all L x L scores in memory."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return F.dropout(scores.softmax(dim=-1), dropout) @ v


def xformers(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """xFormers' memory-efficient attention, CUDA only, the bias included.

    Raises:
        MissingExtraError: xFormers is not installed.
        ModelError: the tensors are not on a CUDA device.
    """
    ops = require("xformers.ops", extra="xformers")
    if not q.is_cuda:
        raise ModelError(f"the xformers kernel needs a CUDA device, got {q.device}; use 'sdpa'")
    if bias is not None:
        batch, heads, length, _ = q.shape
        keys = k.shape[2]
        # rows of the bias must start at multiples of eight elements
        aligned = F.pad(bias.to(q.dtype), (0, -keys % 8))
        bias = aligned[..., :keys].expand(batch, heads, length, keys)
    out: Tensor = ops.memory_efficient_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_bias=bias, p=dropout
    )
    return out.transpose(1, 2)


KERNELS: dict[str, Kernel] = {"sdpa": sdpa, "xformers": xformers, "plain": plain}
DEFAULT = "sdpa"

_chosen = {"everywhere": DEFAULT}


def use_kernel(name: str, *, model: nn.Module | None = None) -> None:
    """Choose the kernel of one model, or of every model that has no choice of its own.

    Raises:
        ModelError: there is no such kernel, or `model` has no attention of ours.
        MissingExtraError: 'xformers' is asked for and not installed.
    """
    if name not in KERNELS:
        raise ModelError(f"unknown attention kernel {name!r}; known are {', '.join(KERNELS)}")
    if name == "xformers":
        require("xformers.ops", extra="xformers")
    if model is None:
        _chosen["everywhere"] = name
        return
    layers = [layer for layer in model.modules() if isinstance(layer, KernelChoice)]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no attention whose kernel can be chosen")
    for layer in layers:
        layer.kernel = name


class KernelChoice(nn.Module):
    """Mixed into layers that attend: `kernel` None follows the choice made for every model."""

    kernel: str | None = None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float
    ) -> Tensor:
        """Attention of (B, heads, L, d) by the chosen kernel."""
        return KERNELS[self.kernel or _chosen["everywhere"]](q, k, v, bias, dropout)


@register_notrace_module  # the kernel is looked up by name
class GlobalAttention(KernelChoice, Attention):
    """timm's ViT attention with a choice of kernel."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend among all tokens: (B, L, C) -> (B, L, C)."""
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        if is_causal:
            causal = torch.full((length, length), float("-inf"), device=x.device, dtype=x.dtype)
            attn_mask = causal.triu(1)
        dropout = self.attn_drop.p if self.training else 0.0
        out = self.attend(self.q_norm(q), self.k_norm(k), v, attn_mask, dropout)
        mixed: Tensor = self.proj_drop(self.proj(out.transpose(1, 2).reshape(batch, length, -1)))
        return mixed
