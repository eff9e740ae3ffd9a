"""How a network is tuned: settings, losses, parameter groups, learning rate. No loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.optim import _param_groups as timm_optim
from torch import Tensor, nn

from deo.errors import ConfigError
from deo.training.tasks.heads import HEADS, ChangeDetector, Network
from deo.training.tasks.scores import IGNORE


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How a network is tuned. The defaults are the authors' public settings, but for their batch
    of 64; those of the commands are the same.

    Args:
        head: `upernet` or `linear`.
        width: channels inside UPerNet.
        frozen: leave the backbone as it is.
        layer_decay: each layer below the head learns by this factor slower; None: all alike.
        loss: `bce` (one-hot masks) or `ce`; both skip ignored pixels.
        balance: weigh classes by the inverse square root of how often they occur.
        epochs, warmup: in epochs; the rate rises linearly, then falls as a cosine.
        batch: patches per step.
        rate, weight_decay: AdamW's.
        crop: side of training patches; None: whole samples.
        patience: epochs without a better validation score before stopping; None: never.
        seed: of head, order and patches.
    """

    head: str = "upernet"
    width: int = 512
    frozen: bool = False
    layer_decay: float | None = None
    loss: str = "bce"
    balance: bool = False
    epochs: int = 50
    warmup: int = 5
    batch: int = 16
    rate: float = 1e-4
    weight_decay: float = 0.05
    crop: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"no head {self.head!r}; choose one of {', '.join(HEADS)}")
        if self.loss not in LOSSES:
            raise ConfigError(f"no loss {self.loss!r}; choose one of {', '.join(LOSSES)}")
        for name in ("width", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; wanted 1 or more")
        if not 0 <= self.warmup <= self.epochs:
            raise ConfigError(f"warmup of {self.warmup} epochs does not fit {self.epochs} epochs")
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"rate is {self.rate}; wanted a number above 0")
        if self.crop is not None and self.crop < 1:
            raise ConfigError(f"crop is {self.crop}; wanted 1 pixel or more")
        if self.patience is not None and self.patience < 0:
            raise ConfigError(f"patience is {self.patience}; wanted 0 or more")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay is {self.weight_decay}; wanted 0 or more")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay is {self.layer_decay}; wanted a number in (0, 1]")
        if self.layer_decay is not None and self.frozen:
            raise ConfigError("layer_decay needs a backbone that learns; drop --frozen")


def cross_entropy(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Softmax cross-entropy: (B, K, ...) scores, (B, ...) labels, `IGNORE` skipped."""
    every = F.cross_entropy(scores, targets, weight=weights, ignore_index=IGNORE, reduction="none")
    seen = targets != IGNORE
    share = seen if weights is None else weights[targets.clamp(min=0)] * seen
    return every.sum() / share.sum().clamp(min=1e-6)


def one_hot_bce(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Binary cross-entropy on every class: labels one-hot, or multi-hot (B, K) as they are."""
    if targets.ndim == scores.ndim:
        return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype), weights)
    seen = targets != IGNORE
    hot = F.one_hot(targets.clamp(min=0), scores.shape[1]).movedim(-1, 1).to(scores.dtype)
    shape = (1, -1) + (1,) * (scores.ndim - 2)
    weighed = None if weights is None else weights.view(shape)
    every = F.binary_cross_entropy_with_logits(scores, hot, weighed, reduction="none")
    return (every.mean(1) * seen).sum() / seen.sum().clamp(min=1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "bce": one_hot_bce,
    "ce": cross_entropy,
}


def parameter_groups(network: Network, config: TuneConfig) -> list[dict[str, Any]]:
    """Parameters that learn, with `lr_scale` per group and no weight decay on vectors."""
    groups = timm_optim.param_groups_weight_decay(network.head, config.weight_decay)
    if not network.frozen:
        inner: Any = getattr(network.backbone, "model", network.backbone)
        if config.layer_decay is None:
            groups += timm_optim.param_groups_weight_decay(inner, config.weight_decay)
        else:
            groups += timm_optim.param_groups_layer_decay(
                inner, config.weight_decay, layer_decay=config.layer_decay
            )
    return [group for group in groups if group["params"]]


def set_rate(optimiser: torch.optim.Optimizer, config: TuneConfig, epoch: float) -> None:
    """Linear warm-up, then a cosine to zero; times each group's `lr_scale`."""
    if epoch < config.warmup:
        rate = config.rate * max(epoch, 0.1) / config.warmup
    else:
        done = (epoch - config.warmup) / max(config.epochs - config.warmup, 1)
        rate = config.rate * 0.5 * (1 + math.cos(math.pi * done))
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def least_batch(network: Network) -> int:
    """Patches that the network can learn from at once.

    Batch normalisation needs two values per channel, and pyramid pooling makes one of a patch. A
    backbone sees the two dates of a pair as two.
    """
    learning: list[nn.Module] = [network.head]
    if not network.frozen and not isinstance(network, ChangeDetector):
        learning.append(network.backbone)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
    found = any(isinstance(module, norms) for part in learning for module in part.modules())
    return 2 if found else 1


def class_weights(counts: NDArray[np.int64]) -> Tensor:
    """(classes,) inverse square roots of the label counts, 1 on average."""
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)
