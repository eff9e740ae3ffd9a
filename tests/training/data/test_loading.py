"""Batches, the same for any number of workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deo.errors import DataError
from deo.training.data.loading import batches
from deo.training.data.order import Order
from deo.training.data.shards import Shards, write_shards


def samples(count: int) -> list[NDArray[np.uint16]]:
    return [np.full((10, 4, 4), number, np.uint16) for number in range(count)]


def test_batches__the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    write_shards(tmp_path, samples(13))
    order = Order(length=13, batch=3, seed=5)
    before = torch.get_rng_state()
    runs = [
        list(batches(Shards(tmp_path), order, start=2, stop=9, workers=workers))
        for workers in (0, 2)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert [batch.step for batch in runs[0]] == list(range(2, 9))
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.samples, other.samples)
        assert (one.step, one.epoch) == (other.step, other.epoch)
        assert one.images.dtype == torch.uint16
        assert one.images[:, 0, 0, 0].tolist() == one.samples.tolist()


def test_batches__an_error_in_a_worker_keeps_its_message(tmp_path: Path) -> None:
    write_shards(tmp_path, samples(8))
    path = tmp_path / "shard-00000.bin"
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    order = Order(length=8, batch=4, seed=0)
    with pytest.raises(DataError, match=r"^sample 0 of \S+ does not match its checksum"):
        list(batches(Shards(tmp_path), order, start=0, stop=2, workers=1))


def test_batches__shapes_that_differ_are_said() -> None:
    odd = [*samples(3), np.zeros((10, 5, 5), np.uint16)]
    with pytest.raises(DataError, match="differ in shape"):
        list(batches(odd, Order(length=4, batch=4, seed=0), start=0, stop=1))
