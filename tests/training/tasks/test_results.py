"""Results: summaries over seeds, JSON there and back, the table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import DataError, OutputError
from deo.training.tasks.dataset import Layout
from deo.training.tasks.outcome import Outcome, Units
from deo.training.tasks.results import markdown, read_json, summarise, write_json
from deo.training.tasks.task import Benchmark, Task

BENCH = Benchmark(
    name="toy",
    task=Task.CLASSIFY,
    classes=2,
    layout=cast(Layout, None),
    metric="accuracy",
    paper=50.0,
    paper_tenth=40.0,
)
RIGHT = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
WRONG = np.array([[[1, 0], [0, 0]], [[0, 0], [1, 0]]])


def outcome(matrices: np.ndarray) -> Outcome:
    return Outcome(Units(matrices, ("a", "b")), "tile", {"k": 1}, {"model": "band-statistics"})


RESULT = summarise(
    BENCH,
    "knn",
    {0: outcome(RIGHT), 1: outcome(RIGHT)},
    bands=BandSet(("B04",)),
    samples={"train": 16, "test": 2},
)


def test_summarise__means_over_seeds_and_the_papers_number() -> None:
    def of(samples: dict[str, int], fraction: float) -> Any:
        outcomes = {3: outcome(RIGHT), 7: outcome(WRONG)}
        return summarise(BENCH, "knn", outcomes, bands=("B04",), samples=samples, fraction=fraction)

    result = of({"train": 16, "test": 2}, 1.0)
    assert (result.value, result.per_seed, result.seeds) == (75, (100, 50), (3, 7))
    assert result.spread == pytest.approx(np.std([100, 50], ddof=1))
    assert (result.unit, result.units, result.paper) == ("tile", 2, 50)
    assert result.model == {"model": "band-statistics", "bands": ["B04"]}
    assert of({"train": 16, "test": 2}, 0.1).paper == 40
    assert of({"train": 16, "test": 2}, 0.25).paper is None
    assert of({"all": 18}, 1.0).paper is None  # another test part than the paper's


def test_summarise__predictions_of_each_unit_and_a_comparison() -> None:
    outcomes = {
        seed: outcome(matrices)._replace(rivals={"forest": Units(WRONG, ("a", "b"))})
        for seed, matrices in ((3, RIGHT), (7, WRONG))
    }
    result = summarise(BENCH, "classify", outcomes, bands=("B04",), samples={"test": 2})
    assert result.predictions == (
        {"sample": "a", "counts": [[[0, 0, 1]], [[0, 0, 1]]]},
        {"sample": "b", "counts": [[[1, 1, 1]], [[1, 0, 1]]]},
    )
    assert result.comparison is not None
    assert [row.name for row in result.comparison.rows] == ["band-statistics", "forest"]
    record = result.record()
    assert record["comparison"]["rows"][1]["network_ahead"] == 25
    assert RESULT.comparison is None


def test_results__json_and_table(tmp_path: Path) -> None:
    result = RESULT
    write_json(result, tmp_path / "r.json")
    record = read_json(tmp_path / "r.json")
    assert record == json.loads(json.dumps(result.record()))
    table = markdown([record])
    assert (
        "| toy | knn | band-statistics | – | accuracy | 100.0 ± 0.0 (100.0 – 100.0) | 2 | 50.00 |"
        in table
    )
    with pytest.raises(OutputError, match="there is no folder"):
        write_json(result, tmp_path / "no/r.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match="no result of deo evaluate"):
        read_json(tmp_path / "bad.json")


@pytest.mark.parametrize("change", [{"value": "1"}, {"interval": 3}, {"model": []}, {"seeds": 1}])
def test_read_json__refuses_other_content(change: dict[str, Any], tmp_path: Path) -> None:
    result = RESULT
    path = tmp_path / "r.json"
    for content in (json.dumps({**result.record(), **change}), "[1]", "", "{", "\0\0"):
        path.write_text(content)
        with pytest.raises(DataError, match="no result of deo evaluate"):
            read_json(path)
    undefined = replace(result, value=float("nan"), interval=(float("nan"),) * 2)
    write_json(undefined, path)
    assert "undefined" in markdown([read_json(path)])
