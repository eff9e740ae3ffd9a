"""What the commands show while they work, on standard error."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deo.training.tasks.tune import Epoch


@contextmanager
def tile_bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal: call what it yields with (tiles finished, total tiles)."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="tile", disable=quiet or None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def show_epoch(seed: int, epoch: "Epoch") -> None:
    """Print how an epoch went."""
    judged = f"validation {100 * epoch.score:.1f} (best {100 * epoch.best:.1f})"
    if math.isnan(epoch.score):
        judged = "no validation part"
    click.echo(f"seed {seed} epoch {epoch.number}: loss {epoch.loss:.4f}, {judged}", err=True)
