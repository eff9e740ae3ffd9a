"""What the commands show while they work, on standard error."""

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deo.training.tasks.tune import Epoch


def show_epoch(seed: int, epoch: "Epoch") -> None:
    """Print how an epoch went."""
    judged = f"validation {100 * epoch.score:.1f} (best {100 * epoch.best:.1f})"
    if math.isnan(epoch.score):
        judged = "no validation part"
    click.echo(f"seed {seed} epoch {epoch.number}: loss {epoch.loss:.4f}, {judged}", err=True)
