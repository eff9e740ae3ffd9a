"""The optimiser: which parameters decay, how gradients are clipped, how schedules are applied."""

from collections.abc import Iterable
from typing import Any

import timm.optim
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from deo.training import config

TABLES = ("relative_position_bias_table", "pos_embed", "cls_token", "reg_token")
"""Last parts of the names of learned tables: looked up, not multiplied, so not decayed."""

ParameterGroup = dict[str, Any]
"""`params`, `weight_decay` and, with layer-wise decay, `lr_scale`, as PyTorch has them."""


def parameter_groups(
    module: nn.Module,
    *,
    weight_decay: float,
    decay_tables: bool = False,
    layer_decay: float | None = None,
) -> list[ParameterGroup]:
    """Split trainable parameters: biases and vectors are never decayed, tables only when told.

    Args:
        weight_decay: of the parameters that decay.
        decay_tables: as published code does, which looks at names and dimensions only.
        layer_decay: each layer below the last learns by this factor more slowly; None: all alike.
    """
    names = [name for name, _ in module.named_parameters()]
    tables = [name for name in names if name.rsplit(".", 1)[-1] in TABLES]
    spared = () if decay_tables else tables
    public: Any = timm.optim  # it lists nothing in `__all__`, which mypy takes for private
    groups: list[ParameterGroup]
    if layer_decay is None:
        groups = public.param_groups_weight_decay(module, weight_decay, no_weight_decay_list=spared)
    else:
        groups = public.param_groups_layer_decay(
            module, weight_decay, no_weight_decay_list=spared, layer_decay=layer_decay
        )
    return groups


def build_optimizer(
    module: nn.Module, optim: config.Optim, *, decay_tables: bool = False
) -> torch.optim.AdamW:
    """AdamW with the decayed parameters as its first group; `set_step` fills in the rates.

    It is fused, which lets a step be left out on the device (`found_inf`), unless the parameters
    are sharded.
    """
    # any decay but 0 does, for timm makes no second group without one; the schedule's first value
    # may be 0
    split = parameter_groups(module, weight_decay=1.0, decay_tables=decay_tables)
    # False sorts before True: the decayed group comes first, where `set_step` looks for it
    groups = sorted(split, key=lambda group: not group["weight_decay"])
    sharded = any(isinstance(parameter, DTensor) for parameter in module.parameters())
    return torch.optim.AdamW(
        groups, lr=0.0, betas=optim.betas, eps=optim.eps, weight_decay=0.0, fused=not sharded
    )


def set_step(optimizer: torch.optim.Optimizer, *, lr: float, weight_decay: float) -> None:
    """The rate for all, the decay for the first group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.param_groups[0]["weight_decay"] = weight_decay


def clip_global(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most `limit`; 0 only measures.

    Returns:
        The joint norm before, a scalar on the device: nothing waits for it.
    """
    parameters = list(parameters)  # walked over twice
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if limit > 0:
        clip_grads_with_norm_(parameters, limit, norm)
    return norm


def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale each gradient so that its own norm is at most `limit`, as the published code does.

    That turns the joint gradient's direction; unlike there, nothing waits for the device.

    Returns:
        The joint norm before.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch._foreach_norm(gradients)
    if limit > 0:
        # 1e-6 as in `clip_grad_norm_`
        factors = [(limit / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
        torch._foreach_mul_(gradients, factors)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def advance(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, norm: Tensor) -> None:
    """Take the step, unless the gradient's norm is not finite.

    Fused optimisers decide that on the device; others, and sharded parameters, wait for it.
    """
    if scaler.is_enabled():
        # looks at the gradients itself, skips the step and halves its scale where one is not finite
        scaler.step(optimizer)
        scaler.update()
    elif optimizer.defaults.get("fused") and not isinstance(norm, DTensor):
        # what a GradScaler sets: the fused kernel reads it and writes nothing where it is 1, so the
        # device is not waited for
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif norm.isfinite():
        optimizer.step()
