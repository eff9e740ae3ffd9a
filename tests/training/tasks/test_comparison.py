"""A network beside its rivals: rows, differences, verdict."""

import numpy as np
import pytest
from numpy.typing import NDArray

from deo.errors import DataError
from deo.training.tasks.comparison import compared


def tiles(right: str) -> list[NDArray[np.int64]]:
    """One run of tiles of class 0; `1` was right, `0` was wrong."""
    matrices = np.zeros((len(right), 2, 2), np.int64)
    for index, one in enumerate(right):
        matrices[index, 0, 1 - int(one)] = 1
    return [matrices]


def test_compared__says_what_is_beaten_and_what_is_not() -> None:
    comparison = compared(
        "accuracy",
        "test",
        ("net", tiles("1" * 32 + "0" * 8)),
        {
            "chance": tiles("10" * 20),
            "close": tiles("1" * 31 + "0" * 9),
            "better": tiles("1" * 36 + "0" * 4),
        },
    )
    values = {row.name: row.score.value for row in comparison.rows}
    assert values == {"net": 0.8, "chance": 0.5, "close": 0.775, "better": 0.9}
    ahead = {row.name: row.ahead for row in comparison.rows}
    assert ahead["net"] is None
    assert ahead["better"] is not None
    assert ahead["better"].value == pytest.approx(-0.1)
    assert ahead["better"].high <= 0
    text = comparison.markdown()
    assert "| accuracy, test part | score (95 %) | network ahead by (95 %) |" in text
    assert "net does NOT beat: better." in text
    assert "net is ahead of close, but chance may do as much" in text
    assert "flatters" not in text


def test_compared__everything_beaten_and_scored_on_the_validation_part() -> None:
    comparison = compared(
        "accuracy", "valid", ("net", tiles("1" * 20)), {"chance": tiles("10" * 10)}
    )
    text = comparison.markdown()
    assert "net beats everything it is compared with." in text
    assert "The validation part chose the epoch, which flatters the network." in text
    record = comparison.record()
    assert (record["metric"], record["part"]) == ("accuracy", "valid")
    assert record["rows"][0]["network_ahead"] is None
    assert record["rows"][1]["network_ahead"] == pytest.approx(50)


def test_compared__with_nothing_says_nothing() -> None:
    assert "beat" not in compared("accuracy", "test", ("net", tiles("10")), {}).markdown()


def test_compared__refuses_other_units() -> None:
    with pytest.raises(DataError, match="need the same units"):
        compared("accuracy", "test", ("net", tiles("111")), {"other": tiles("11")})
