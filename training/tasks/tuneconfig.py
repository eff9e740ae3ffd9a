"""How a network is tuned: the settings, and the parameters and rates that follow from them."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from deo.errors import ConfigError
from deo.training.run import optim
from deo.training.run.optim import ParameterGroup
from deo.training.run.schedules import EpochCosine
from deo.training.tasks.heads import HEADS, Network
from deo.training.tasks.objectives import LOSSES


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


def parameter_groups(network: Network, config: TuneConfig) -> list[ParameterGroup]:
    """Parameters that learn, with `lr_scale` per group and no weight decay on vectors."""
    # The tables of positions decay here as in the authors' code, which looks at dimensions only.
    groups = optim.parameter_groups(
        network.head, weight_decay=config.weight_decay, decay_tables=True
    )
    if not network.frozen:
        # timm wraps a backbone for its maps; layers are told apart by the names inside.
        inner: Any = getattr(network.backbone, "model", network.backbone)
        groups += optim.parameter_groups(
            inner,
            weight_decay=config.weight_decay,
            decay_tables=True,
            layer_decay=config.layer_decay,
        )
    return [group for group in groups if group["params"]]


def set_rate(optimiser: torch.optim.Optimizer, config: TuneConfig, epoch: float) -> None:
    """Linear warm-up, then a cosine to zero; times each group's `lr_scale`."""
    rate = EpochCosine(base=config.rate, epochs=config.epochs, warmup=config.warmup)(epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
