"""Which attention kernel runs: PyTorch's fused one, xFormers', the plain formula, or the fastest.

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
from deo.models.linear import infers, linear

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]

_BLOCK_BYTES = 4 * 2**20
"""Scores computed at once in `blocked`; 2 to 8 MiB were equally fast."""

_LONGEST = {torch.float32: 256, torch.bfloat16: 2**16}
"""Tokens (L) up to which `blocked` beats PyTorch's fused kernel on a CPU."""


def sdpa(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """PyTorch's fused attention."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)


def blocked(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """The formula over so few images and heads at a time that their scores stay in cache."""
    batch, heads, length, dim = q.shape
    # scores that fit in cache are read again at once by softmax and the second product
    pairs = max(1, _BLOCK_BYTES // (length * length * q.element_size()))
    images, together = max(1, pairs // heads), min(heads, pairs)
    added = q.new_zeros(()) if bias is None else bias
    added = added.expand(batch, heads, length, length)
    # laid out as the caller reads it next, heads beside channels, so that nothing is copied then
    out = q.new_empty(batch, length, heads, dim).transpose(1, 2)
    for image in range(0, batch, images):
        for head in range(0, heads, together):
            part = (slice(image, image + images), slice(head, head + together))
            queries, keys, values = (x[part].reshape(-1, length, dim) for x in (q, k, v))
            scores = torch.baddbmm(
                added[part].reshape(-1, length, length),
                queries,
                keys.transpose(1, 2),
                beta=int(bias is not None),  # with 0, `added` is not read at all
                alpha=dim**-0.5,
            )
            shares = F.dropout(scores.softmax(dim=-1), dropout)
            out[part] = torch.bmm(shares, values).view(out[part].shape)
    return out


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


KERNELS: dict[str, Kernel] = {
    "sdpa": sdpa,
    "blocked": blocked,
    "xformers": xformers,
    "plain": plain,
}
DEFAULT = "auto"
"""`blocked` for inference on a CPU where it is the faster, else `sdpa`."""

_chosen = {"everywhere": DEFAULT}


def use_kernel(name: str, *, model: nn.Module | None = None) -> None:
    """Choose the kernel of one model, or of every model that has no choice of its own.

    Raises:
        ModelError: there is no such kernel, or `model` has no attention of ours.
        MissingExtraError: 'xformers' is asked for and not installed.
    """
    if name not in (DEFAULT, *KERNELS):
        known = ", ".join((DEFAULT, *KERNELS))
        raise ModelError(f"unknown attention kernel {name!r}; known are {known}")
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
        name = self.kernel or _chosen["everywhere"]
        if name == DEFAULT:
            pays = q.device.type == "cpu" and q.shape[2] <= _LONGEST.get(q.dtype, 0)
            name = "blocked" if pays and infers(self) else "sdpa"
        return KERNELS[name](q, k, v, bias, dropout)


@register_notrace_module  # the kernel is looked up by name
class GlobalAttention(KernelChoice, Attention):
    """timm's ViT attention with a choice of kernel."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend among all tokens: (B, L, C) -> (B, L, C)."""
        batch, length, _ = x.shape
        q, k, v = (
            linear(self.qkv, x).view(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        )
        bias = _additive(attn_mask, q.dtype)
        if is_causal:
            causal = q.new_full((length, length), float("-inf")).triu(1)
            bias = causal if bias is None else bias + causal
        dropout = self.attn_drop.p if self.training else 0.0
        out = self.attend(self.q_norm(q), self.k_norm(k), v, bias, dropout)
        mixed: Tensor = self.proj_drop(
            linear(self.proj, out.transpose(1, 2).reshape(batch, length, -1))
        )
        return mixed


def _additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask as a bias: of a boolean one, where True may be attended to, 0 and minus infinity."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, float("-inf"))
