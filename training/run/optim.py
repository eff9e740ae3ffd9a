"""The optimiser: which parameters decay, how gradients are clipped, how schedules are applied."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from timm.optim.lars import Lars
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from deo.training import config

TABLES = ("relative_position_bias_table", "pos_embed", "cls_token", "reg_token")
"""Last parts of the names of learned tables: looked up, not multiplied, so not decayed."""


class Groups(NamedTuple):
    """Parameters that decay and those that do not, by name, in the module's order."""

    decayed: dict[str, nn.Parameter]
    kept: dict[str, nn.Parameter]


def parameter_groups(module: nn.Module, *, decay_tables: bool = False) -> Groups:
    """Split trainable parameters: biases and 1-D ones are never decayed, tables as told.

    Args:
        decay_tables: as the published code, which looks at names and dimensions only.
    """
    groups = Groups({}, {})
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            last = name.rsplit(".", 1)[-1]
            kept = last == "bias" or parameter.ndim == 1 or (last in TABLES and not decay_tables)
            (groups.kept if kept else groups.decayed)[name] = parameter
    return groups


def build_optimizer(groups: Groups, optim: config.Optim) -> torch.optim.Optimizer:
    """The optimiser with the decayed parameters as first group; `set_step` fills in the rates.

    AdamW and SGD are fused, which lets a step be left out on the device (`found_inf`), unless the
    parameters are sharded.
    """
    fused = not any(isinstance(p, DTensor) for group in groups for p in group.values())
    parameters: list[dict[str, Any]] = [
        {"params": list(groups.decayed.values())},
        {"params": list(groups.kept.values()), "weight_decay": 0.0},
    ]
    if optim.name == "adamw":
        return torch.optim.AdamW(
            parameters, lr=0.0, betas=optim.betas, eps=optim.eps, weight_decay=0.0, fused=fused
        )
    if optim.name == "sgd":
        sgd = torch.optim.SGD(parameters, lr=0.0, momentum=0.9, fused=fused)
        for group in sgd.param_groups:  # else a first step that is left out leaves them unset
            for parameter in group["params"]:
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    lars: torch.optim.Optimizer = Lars(parameters, lr=0.0, momentum=0.9, weight_decay=0.0)
    return lars


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
    parameters = list(parameters)
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
        factors = [(limit / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
        torch._foreach_mul_(gradients, factors)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def advance(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, norm: Tensor) -> None:
    """Take the step, unless the gradient's norm is not finite.

    Fused optimisers decide that on the device; others, and sharded parameters, wait for it.
    """
    if scaler.is_enabled():
        scaler.step(optimizer)
        scaler.update()
    elif optimizer.defaults.get("fused") and not isinstance(norm, DTensor):
        optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif norm.isfinite():
        optimizer.step()
