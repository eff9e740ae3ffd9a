"""How a network is tuned: the settings, and the parameters and rates that follow from them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from deo.errors import ConfigError, did_you_mean
from deo.training.run import optim
from deo.training.run.optim import ParameterGroup
from deo.training.run.schedules import EpochCosine
from deo.training.tasks.heads import HEADS, WIDTHS, Network
from deo.training.tasks.objectives import BALANCE, LOSSES


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How a network is tuned. Where a default is None, task and data decide; see `settled`.

    Args:
        head: `auto`, which is `fusion`, `upernet` (for maps alone) or `linear`.
        width: channels inside a head of maps; None: 512 for `upernet`, as the authors, and 32
            for `fusion`.
        frozen: leave the backbone as it is; None: see `plan.choose_frozen`.
        layer_decay: each layer below the head learns by this factor slower; None: all alike.
        loss: `bce` (one-hot masks) or `ce`; both skip ignored pixels.
        balance: weigh classes by the inverse square root of how often they occur: `on`, `off`, or
            `auto`, which does where one class has ten times as many labels as another.
        epochs: passes over the training samples; None: see `steps`.
        steps: of the optimiser at the least; None, if there are no `epochs` either: see
            `plan.make_plan`.
        warmup: in epochs; the rate rises linearly, then falls as a cosine.
        batch: patches per step.
        rate, weight_decay: AdamW's.
        crop: side of training patches; None: see `plan.choose_crop`.
        patience: epochs without a better validation score before stopping; None: never.
        seed: of head, order and patches.
    """

    head: str = "auto"
    width: int | None = None
    frozen: bool | None = None
    layer_decay: float | None = None
    loss: str = "ce"
    balance: str = "auto"
    epochs: int | None = None
    steps: int | None = None
    warmup: int = 2
    batch: int = 8
    rate: float = 1e-3
    weight_decay: float = 0.05
    crop: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_names()
        for name in ("width", "epochs", "steps", "batch", "crop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; wanted 1 or more")
        if self.epochs is not None and self.steps is not None:
            raise ConfigError("epochs and steps both say how long to tune; give one of them")
        if self.warmup < 0 or (self.epochs is not None and self.warmup > self.epochs):
            raise ConfigError(f"warmup of {self.warmup} epochs does not fit {self.epochs} epochs")
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"rate is {self.rate}; wanted a number above 0")
        if self.patience is not None and self.patience < 0:
            raise ConfigError(f"patience is {self.patience}; wanted 0 or more")
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight_decay is {self.weight_decay}; wanted 0 or more")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay is {self.layer_decay}; wanted a number in (0, 1]")
        if self.layer_decay is not None and self.frozen:
            raise ConfigError("layer_decay needs a backbone that learns; drop --frozen")

    def _check_names(self) -> None:
        names = {"head": ("auto", *HEADS), "loss": tuple(LOSSES), "balance": BALANCE}
        for name, known in names.items():
            if getattr(self, name) not in known:
                value = str(getattr(self, name))
                raise ConfigError(f"no {name} {value!r}; {did_you_mean(value, known)}")

    def settled(self) -> "TuneConfig":
        """The same with a head and its width."""
        head = "fusion" if self.head == "auto" else self.head
        return replace(self, head=head, width=self.width or WIDTHS[head])


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


def set_rate(
    optimiser: torch.optim.Optimizer, config: TuneConfig, epoch: float, *, epochs: int
) -> None:
    """Linear warm-up, then a cosine to zero after `epochs`; times each group's `lr_scale`."""
    warmup = min(config.warmup, epochs)
    rate = EpochCosine(base=config.rate, epochs=epochs, warmup=warmup)(epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
