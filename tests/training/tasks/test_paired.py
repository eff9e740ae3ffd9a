"""Two results compared unit by unit."""

from typing import Any

import pytest

from deo.errors import DataError
from deo.training.tasks.paired import compare_results


def record(right: str, *, seeds: int = 1, **changes: Any) -> dict[str, Any]:
    """A result on tiles of two classes in turn; `1` was right, `0` was wrong."""
    predictions = [
        {
            "sample": str(index),
            "counts": [[[index % 2, (index % 2) ^ (one == "0"), 1]] for _ in range(seeds)],
        }
        for index, one in enumerate(right)
    ]
    return {
        "dataset": "toy", "metric": "accuracy", "unit": "tile", "predictions": predictions,
        **changes,
    }  # fmt: skip


def test_compare_results__difference_with_interval_and_mcnemar() -> None:
    found = compare_results(record("1" * 16 + "0" * 4), record("1" * 8 + "0" * 12))
    assert (found.units, found.first, found.second) == (20, 0.8, 0.4)
    assert found.ahead.value == pytest.approx(0.4)
    assert 0 < found.ahead.low < 0.4 < found.ahead.high
    assert found.mcnemar == (8, 0, pytest.approx(2 / 2**8))  # the binomial distribution by hand
    assert str(found) == (
        "accuracy on the same 20 units (tile): 80.0 and 40.0; the first is ahead by 40.0 "
        f"(95 %: {100 * found.ahead.low:.1f} to {100 * found.ahead.high:.1f})\n"
        "only the first is right about 8 tiles, only the second about 0: p = 0.008 "
        "(McNemar's exact test)"
    )
    same = compare_results(record("10"), record("10"))
    assert (same.ahead, same.mcnemar) == ((0, 0, 0), (0, 0, 1.0))


def test_compare_results__of_several_seeds_without_mcnemar() -> None:
    found = compare_results(record("1100", seeds=2), record("1000"))
    assert (found.first, found.second, found.mcnemar) == (0.5, 0.25, None)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (record("110"), "not of the same samples"),
        (record("1100", dataset="other"), "another dataset: 'toy' and 'other'"),
        (record("1100", metric="f1"), "another metric"),
        (record("1100", predictions=[]), "not of the same samples"),
    ],
)
def test_compare_results__refuses_what_cannot_be_compared(
    other: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compare_results(record("1100"), other)


def test_compare_results__refuses_other_labels() -> None:
    other = record("1100")
    other["predictions"][0]["counts"] = [[[1, 1, 1]]]
    with pytest.raises(DataError, match="labels of the samples differ"):
        compare_results(record("1100"), other)
