"""Batches in the order of `Order`, read ahead by worker processes that do nothing but read."""

import signal
import time
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from deo.errors import DataError, DeoError
from deo.training.data.order import Order
from deo.training.data.samples import Samples

_GRACE_SECONDS = 30


class Batch(NamedTuple):
    """What one step reads.

    Args:
        step: counted from the start of the run.
        epoch: pass over the data this step belongs to.
        images: (B, C, H, W) in the store's own type (uint16 halves what goes to the device).
        samples: (B,) int64, numbers in the store: the key of each sample's randomness.
        waited: seconds the consumer stood still for this batch.
    """

    step: int
    epoch: int
    images: torch.Tensor
    samples: torch.Tensor
    waited: float


@dataclass(frozen=True, kw_only=True)
class Reader(Dataset[Any]):
    """Reads the images of a step; what a worker runs."""

    samples: Samples
    order: Order

    def __getitem__(self, step: int) -> torch.Tensor | DeoError:
        """Images (B, C, H, W), or the error met (the loader would bury its message)."""
        try:
            return self.read(step)
        except DeoError as error:
            return error

    def read(self, step: int) -> torch.Tensor:
        """Images (B, C, H, W) in the store's own type.

        Raises:
            DeoError: a sample cannot be read, or their shapes differ.
        """
        arrays = [self.samples[int(number)] for number in self.order.at(step).numbers]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise DataError(
                f"samples of one batch differ in shape: {sorted(shapes)}; "
                "`deo prepare` brings them to one size"
            )
        return torch.from_numpy(np.stack(arrays))


@dataclass(frozen=True)
class _Steps(Sampler[int]):
    steps: range

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def batches(
    samples: Samples, order: Order, *, start: int, stop: int, workers: int = 0, ahead: int = 4
) -> Generator[Batch, None, None]:
    """The batches of steps `start` to `stop`, the same for any number of workers.

    Close the generator (`contextlib.closing`) where the loop over it may be left early.

    Args:
        workers: processes that read; 0 reads in this one.
        ahead: batches each worker keeps ready.
    """
    with warnings.catch_warnings():
        # readers wait for the disk more than they compute, so more of them than cores is no mistake
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            Reader(samples=samples, order=order),
            batch_size=None,
            sampler=_Steps(range(start, stop)),
            num_workers=workers,
            prefetch_factor=ahead if workers else None,
            worker_init_fn=_prepare_worker,
            pin_memory=torch.cuda.is_available(),
            # it draws a seed for its workers; from the global state, that would change the run
            generator=torch.Generator(),
        )
        iterator = iter(loader)
    try:
        for step in range(start, stop):
            began = time.perf_counter()
            images = next(iterator)
            if isinstance(images, DeoError):
                raise images
            waited = time.perf_counter() - began
            epoch, numbers = order.at(step)
            yield Batch(step, epoch, images, torch.from_numpy(numbers.copy()), waited)
    finally:
        del iterator  # ends the workers now, though a traceback may hold this frame


def _prepare_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # a scheduler signals the whole group: the main process decides, the readers serve it until
    # then. The alarm ends a reader whose main process is stuck in leaving.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_SECONDS))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
