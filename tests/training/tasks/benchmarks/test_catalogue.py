"""The table of benchmarks: what is in it, how it is filled, how a row is looked up."""

from pathlib import Path

import pytest

from deo.errors import DataError
from deo.training.tasks import benchmarks
from deo.training.tasks.benchmarks.catalogue import BENCHMARKS, benchmark
from deo.training.tasks.scores import STATISTICS

TESTS = Path(__file__).parent


def test_table__every_name_says_what_the_paper_reports() -> None:
    assert len(BENCHMARKS) == 14
    without = {name for name, row in BENCHMARKS.items() if row.paper is None}
    assert without == {"eurosat-ms"}
    assert all(row.shapes for row in BENCHMARKS.values())
    with pytest.raises(DataError, match="known are eurosat-ms"):
        benchmark("eurosatms")


def test_table__rows_are_complete_and_named_once() -> None:
    for name, row in BENCHMARKS.items():
        assert row.name == name
        assert row.metric in STATISTICS
        assert row.class_count == len(row.class_names) >= 2


def test_table__every_layout_module_is_collected_and_tested() -> None:
    """Adding a benchmark takes its module and its test; no list names it."""
    layouts = {type(row.layout).__module__.rsplit(".", 1)[1] for row in BENCHMARKS.values()}
    modules = {
        path.stem
        for path in Path(benchmarks.__file__).parent.glob("*.py")
        if "\nPUBLISHED = " in path.read_text()
    }
    assert layouts == modules
    assert {f"test_{name}.py" for name in modules} <= {path.name for path in TESTS.glob("*.py")}


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_open__no_folder_and_an_empty_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        BENCHMARKS[name].open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not complete"):
        BENCHMARKS[name].open(tmp_path)


def test_benchmark__partitions_are_of_geobench_only() -> None:
    with pytest.raises(DataError, match="only GEO-Bench has partitions; oscd has none"):
        benchmark("oscd", partition="0.10x_train")
