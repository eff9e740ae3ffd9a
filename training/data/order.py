"""Which samples make which step: a pure function of (seed, epoch, step), cut up over the ranks.

Nothing here has state, so a run resumes at any step by asking for that step, whatever the number
of loader workers.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError, DataError

_SUBSET, _EPOCH, _RUNS, _WITHIN_RUN = 1, 2, 3, 4
_KEPT_EPOCHS = 2


class StepSamples(NamedTuple):
    """The samples of one rank at one step: numbers of shape (batch,), and the epoch."""

    epoch: int
    numbers: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order in which samples are visited.

    Every epoch is a new permutation of the same subset; its last, incomplete step is left out.
    The batch of all ranks together at a step does not depend on how many ranks share it, and
    ranks never share a sample: the subset is partitioned.

    Args:
        length: samples in the store.
        batch: samples per rank and step.
        seed: decides the subset and every permutation.
        rank, world_size: this process among all.
        data_split: how much of the store is used: a part in (0, 1], or a number of samples.
        subset_per_rank: every rank draws a subset of its own and takes its share of that, as the
            published code did; some samples are seen twice, some never.
        run_length: 0 shuffles freely. Otherwise neighbours stay together in runs of this length,
            visited in random order and shuffled within (for stores that read sequentially).

    Raises:
        ConfigError: a number cannot work.
        DataError: the subset is smaller than one step.
    """

    length: int
    batch: int
    seed: int
    rank: int = 0
    world_size: int = 1
    data_split: float = 1.0
    subset_per_rank: bool = False
    run_length: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"batch {self.batch}, rank {self.rank} of {self.world_size} cannot work"
            )
        if self.data_split <= 0 or (self.data_split > 1 and self.data_split % 1):
            raise ConfigError(
                f"data_split is {self.data_split}; wanted a part in (0, 1] or a number of samples"
            )
        if self.data_split > self.length >= 1 and self.data_split > 1:
            raise DataError(
                f"data_split asks for {self.data_split:g} samples, the data has {self.length}"
            )
        if self.steps_per_epoch < 1:
            raise DataError(
                f"{self.subset_length} samples do not fill one step of {self.batch} on each of "
                f"{self.world_size} processes; lower the batch or prepare more data"
            )

    @property
    def subset_length(self) -> int:
        """Samples in use."""
        if self.data_split > 1:
            return int(self.data_split)
        return max(min(1, self.length), round(self.length * self.data_split))

    @property
    def steps_per_epoch(self) -> int:
        return self.subset_length // (self.batch * self.world_size)

    def at(self, step: int) -> StepSamples:
        """The samples of this rank at a step counted from the start of the run."""
        epoch, position = divmod(step, self.steps_per_epoch)
        drawn_by = self.rank if self.subset_per_rank else 0
        order = _permutation(
            self.length, self.subset_length, (self.seed, drawn_by), epoch, self.run_length
        )
        # ranks take neighbouring slices of one batch, so that together they see the same samples
        # however many they are
        start = (position * self.world_size + self.rank) * self.batch
        return StepSamples(epoch, order[start : start + self.batch])


@lru_cache(maxsize=1)
def _subset(length: int, count: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    if count == length:
        return np.arange(length)
    # sorted, so that runs of neighbours in the subset are neighbours in the store too
    return np.sort(_shuffled(length, (*seed, _SUBSET, 0))[:count])


@lru_cache(maxsize=_KEPT_EPOCHS)
def _permutation(
    length: int, count: int, seed: tuple[int, int], epoch: int, run_length: int
) -> NDArray[np.int64]:
    subset = _subset(length, count, seed)
    if not run_length:
        return subset[_shuffled(count, (*seed, _EPOCH, epoch))]
    runs = [subset[start : start + run_length] for start in range(0, count, run_length)]
    visited = [
        runs[i][_shuffled(len(runs[i]), (*seed, _WITHIN_RUN, epoch, int(i)))]
        for i in _shuffled(len(runs), (*seed, _RUNS, epoch))
    ]
    return np.concatenate(visited)


def _shuffled(count: int, key: tuple[int, ...]) -> NDArray[np.int64]:
    # by sorting raw Philox words: NumPy promises their values for ever, but not permutation()'s
    words = np.random.Philox(np.random.SeedSequence(key)).random_raw(count)
    return np.argsort(np.asarray(words, dtype=np.uint64), kind="stable")
