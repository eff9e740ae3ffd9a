"""What is told about a network while it is tuned: on standard error, or to a function."""

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Epoch(NamedTuple):
    """What one epoch came to.

    `number`, `steps`: epochs and steps made so far, this epoch's among them.
    `loss`: mean of the epoch.
    `score`, `best`: the benchmark's metric on the validation part, now and at its best.
    """

    number: int
    steps: int
    loss: float
    score: float
    best: float


Report = Callable[[int, Epoch], None]
"""Is told the seed of a run and each of its epochs."""

Progress = Report | bool | None
"""True: lines on standard error. A function is told instead. None or False: nothing is shown."""


@contextlib.contextmanager
def reporting(progress: Progress) -> Iterator[Report | None]:
    """What is to be told about each epoch; True also shows what is said before the first one."""
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield None
    else:
        with _shown(logging.getLogger("deo.training.tasks")):
            yield _show


@contextlib.contextmanager
def _shown(logger: logging.Logger) -> Iterator[None]:
    """Show what is logged, from information on, as bare lines on standard error."""
    handler, level = logging.StreamHandler(sys.stderr), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _show(seed: int, epoch: Epoch) -> None:
    judged = f"validation {100 * epoch.score:.1f} (best {100 * epoch.best:.1f})"
    if math.isnan(epoch.score):
        judged = "no validation part"
    print(
        f"seed {seed} epoch {epoch.number}: loss {epoch.loss:.4f}, {judged}, step {epoch.steps}",
        file=sys.stderr,
    )
