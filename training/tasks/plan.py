"""How long a network is tuned: in steps, with a floor, so that small data are learned from too."""

import math
from typing import NamedTuple

from deo.training.tasks.patches import Examples
from deo.training.tasks.tuneconfig import TuneConfig

EPOCHS = 20
"""How often a network is judged, and how often it sees the samples at the least, if nothing else is
asked for."""

LEAST_STEPS = 300
"""Steps of a run at the least, if nothing else is asked for."""


class Plan(NamedTuple):
    """The length of a run.

    `epochs`: how often the network is judged on the validation part.
    `passes`: over the training samples in each of them.
    `steps`: of the optimiser in one pass.
    """

    epochs: int
    passes: int
    steps: int

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.passes * self.steps

    def __str__(self) -> str:
        every = "each" if self.passes == 1 else f"every {self.passes}"
        return (
            f"{self.epochs * self.passes} passes over the training samples, {self.steps} steps "
            f"each, {self.total} steps in all; judged after {every}"
        )


def make_plan(config: TuneConfig, *, patches: int, least: int = 1) -> Plan:
    """Epochs, passes and steps of a run.

    `config.epochs` counts passes over the samples, as they are. Otherwise a run makes
    `config.steps` steps or somewhat more, to end with a whole pass; without either it makes 20
    passes, and more where they come to fewer than 300 steps: a data set of eight patches makes one
    step per pass, and 20 steps teach a network little.

    Args:
        patches: of one pass over the training samples.
        least: patches that a step needs; see `heads.least_batch`.
    """
    full, rest = divmod(patches, config.batch)
    steps = max(1, full + (rest >= least and rest > 0))
    if config.epochs is not None:
        return Plan(config.epochs, 1, steps)
    wanted = config.steps or max(EPOCHS * steps, LEAST_STEPS)
    passes = math.ceil(wanted / steps)
    epochs = min(EPOCHS, passes)
    return Plan(epochs, math.ceil(passes / epochs), steps)


_FEW_TILES = 500


def choose_frozen(examples: Examples) -> bool:
    """Whether the backbone keeps still if nothing is asked for: where few tiles have a label each.

    A tile is one label, and a backbone that learns from few of them forgets more than it learns; a
    mask is thousands of labels. See docs/finetuning.md for what was measured.
    """
    _, target = examples[0]
    return target.ndim < 2 and len(examples) < _FEW_TILES


_WHOLE = 256  # samples up to this side are learned from as they are
_PATCH = 96


def choose_crop(examples: Examples) -> int | None:
    """The side of training patches if none is asked for; None: whole samples.

    Masks of one size up to 256 pixels are learned from whole, and so are tiles with one label.
    Others give patches of 96 pixels, or of the smallest sample's size.
    """
    sizes = set()
    for image, target in examples:
        if target.ndim < 2:
            return None
        sizes.add(image.shape[-2:])
    least = min(min(size) for size in sizes)
    if len(sizes) == 1 and max(max(size) for size in sizes) <= _WHOLE:
        return None
    return int(min(_PATCH, least))
