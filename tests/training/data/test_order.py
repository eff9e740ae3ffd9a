"""The order of samples: a pure function of seed, epoch and step, partitioned over ranks."""

import numpy as np
import pytest

from deo.errors import ConfigError, DataError
from deo.training.data.order import Order


def epoch_of(order: Order, epoch: int) -> list[int]:
    first = epoch * order.steps_per_epoch
    steps = range(first, first + order.steps_per_epoch)
    return [int(number) for step in steps for number in order.at(step).numbers]


def test_order__every_sample_once_an_epoch_and_epochs_differ() -> None:
    order = Order(length=24, batch=4, seed=1)
    assert sorted(epoch_of(order, 0)) == list(range(24))
    assert sorted(epoch_of(order, 1)) == list(range(24))
    assert epoch_of(order, 0) != epoch_of(order, 1)
    assert epoch_of(order, 0) != epoch_of(Order(length=24, batch=4, seed=2), 0)


def test_order__fixed_for_ever() -> None:
    assert epoch_of(Order(length=10, batch=5, seed=7), 3) == [9, 2, 5, 8, 1, 7, 3, 4, 0, 6]


def test_order__ranks_share_out_the_same_batches() -> None:
    alone = Order(length=50, batch=12, seed=0)
    ranks = [Order(length=50, batch=3, seed=0, rank=rank, world_size=4) for rank in range(4)]
    for step in (0, 3, 4, 9):
        together = np.concatenate([order.at(step).numbers for order in ranks])
        np.testing.assert_array_equal(together, alone.at(step).numbers)
        assert ranks[0].at(step).epoch == step // 4


@pytest.mark.parametrize(("split", "count"), [(0.5, 20), (16.0, 16), (1.0, 40)])
def test_order__subset_is_a_true_partition(split: float, count: int) -> None:
    def seen(epoch: int) -> list[int]:
        orders = [
            Order(length=40, batch=2, seed=3, rank=rank, world_size=2, data_split=split)
            for rank in range(2)
        ]
        return [number for order in orders for number in epoch_of(order, epoch)]

    assert len(seen(0)) == len(set(seen(0))) == count
    assert set(seen(0)) == set(seen(1))


def test_order__subset_per_rank_is_the_published_fault() -> None:
    orders = [
        Order(
            length=400, batch=10, seed=3, rank=rank, world_size=4, data_split=0.5,
            subset_per_rank=True,
        )
        for rank in range(4)
    ]  # fmt: skip
    seen = [number for order in orders for number in epoch_of(order, 0)]
    assert len(seen) == 200
    assert len(set(seen)) < 200


def test_order__runs_stay_together() -> None:
    order = Order(length=64, batch=8, seed=0, run_length=16)
    numbers = epoch_of(order, 0)
    assert sorted(numbers) == list(range(64))
    for start in range(0, 64, 16):
        run = numbers[start : start + 16]
        assert len({number // 16 for number in run}) == 1
        assert run != sorted(run)


@pytest.mark.parametrize(
    "numbers",
    [{"batch": 0}, {"rank": 2}, {"data_split": 0.0}, {"data_split": 1.5}],
)
def test_order__numbers_that_cannot_work_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Order(**{"length": 8, "batch": 2, "seed": 0, "world_size": 2, **numbers})  # type: ignore[arg-type]


def test_order__too_few_samples_are_said() -> None:
    with pytest.raises(DataError, match="7 samples do not fill one step of 4 on each of 2"):
        Order(length=7, batch=4, seed=0, world_size=2)
    with pytest.raises(DataError, match="asks for 9 samples, the data has 8"):
        Order(length=8, batch=1, seed=0, data_split=9.0)
