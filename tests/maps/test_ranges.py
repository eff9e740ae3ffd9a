"""Ranges of rows of tiles, computed apart and joined, are one run to the byte."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deo import Extraction
from deo.errors import BusyError, ConfigError, OutputError
from deo.maps.compute import RowRange, run_job
from deo.maps.job import Job
from deo.maps.ranges import compute_rows, join_rows, split_rows
from deo.maps.rows import RowReader
from deo.maps.spool import Spool
from deo.maps.stream import RowBand
from deo.maps.windows import tiles


def test_split_rows__ranges_of_nearly_equal_size() -> None:
    tiling = tiles(height=300, width=40, tile=64, overlap=32, multiple=32)
    assert len(tiling.rows.starts) == 9
    assert split_rows(tiling, 1) == [(0, 9)]
    assert split_rows(tiling, 4) == [(0, 2), (2, 4), (4, 6), (6, 9)]
    assert len(split_rows(tiling, 20)) == 9
    with pytest.raises(ConfigError, match="split into 0 ranges"):
        split_rows(tiling, 0)


@pytest.fixture
def make_job(scene_file: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[[str], Job]]:
    """Jobs of one scene with nine rows of tiles and a hole, all layers, as workers plan them."""
    path = scene_file(300, 130, hole=(slice(0, 90), slice(0, 70)))
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Job:
            extraction = Extraction(
                model="test_deo_swin", untrained=True, layer=None, tile=64, overlap=32
            )
            scene = stack.enter_context(extraction.open(path))
            return extraction.job(scene, tmp_path / name)

        yield make


def outputs(job: Job) -> list[bytes]:
    return [output.path.read_bytes() for output in job.outputs]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_join_rows__writes_the_bytes_of_one_run(
    make_job: Callable[[str], Job], tmp_path: Path, count: int
) -> None:
    serial, job = make_job("serial.tif"), make_job("joined.tif")
    assert run_job(serial)
    ranges = split_rows(job.tiling, count)
    told: list[int] = []
    for rows in reversed(ranges):
        compute_rows(job, rows, progress=told.append)
    assert sum(told) == len(job.tiling)
    seen: list[int] = []

    def look(maps: Sequence[RowReader]) -> None:
        seen.extend(one.shape.height for one in maps)

    assert join_rows(job, ranges, look=look)
    assert seen == [shape.height for shape in job.shapes]
    assert outputs(job) == outputs(serial)
    assert not list(tmp_path.glob("*.partial"))
    assert not join_rows(job, ranges), "it is complete"
    assert not list(tmp_path.glob("*.partial"))


def test_join_rows__after_a_range_was_interrupted(
    make_job: Callable[[str], Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    serial, job = make_job("serial.tif"), make_job("joined.tif")
    run_job(serial)
    ranges = split_rows(job.tiling, 2)
    append = Spool.append

    def dies(self: Spool, band: RowBand) -> None:
        if self.finished:
            raise KeyboardInterrupt
        append(self, band)

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            compute_rows(job, ranges[1])
    assert "1 of 5 rows of tiles are kept in" in caplog.text
    compute_rows(job, ranges[0])
    with pytest.raises(OutputError, match="rows of tiles 4 to 9 are not finished") as refused:
        join_rows(job, ranges)
    assert refused.value.retriable
    assert not job.outputs[0].path.exists()
    told: list[int] = []
    compute_rows(job, ranges[1], resume=True, progress=told.append)
    assert 0 < sum(told) < 5 * len(job.tiling.cols.starts), "what was kept is not computed again"
    for rows in ranges:
        compute_rows(job, rows, resume=True, progress=lambda tiles: pytest.fail("all is there"))
    join_rows(job, ranges)
    assert outputs(job) == outputs(serial)
    assert not list(tmp_path.glob("*.partial"))


def test_join_rows__refuses_rows_that_are_missing_or_of_another_input(
    make_job: Callable[[str], Job], tmp_path: Path
) -> None:
    job = make_job("joined.tif")
    ranges = split_rows(job.tiling, 3)
    with pytest.raises(OutputError, match="rows of tiles 0 to 3, 3 to 6, 6 to 9 are not"):
        join_rows(job, ranges)
    assert not list(tmp_path.glob("*.partial")), "no folder is left of what never began"
    for rows in ranges:
        compute_rows(job, rows)
    os.utime(job.inputs.paths[0], (1, 1))
    with pytest.raises(OutputError, match="rows of tiles 0 to 3, 3 to 6, 6 to 9 are not"):
        join_rows(make_job("joined.tif"), ranges)


@pytest.mark.parametrize(
    "ranges", [[], [(0, 4)], [(0, 4), (5, 9)], [(4, 9), (0, 4)], [(0, 9), (9, 9)], [(0, 10)]]
)
def test_join_rows__refuses_ranges_that_are_not_all_rows(
    make_job: Callable[[str], Job], ranges: list[tuple[int, int]]
) -> None:
    with pytest.raises(ConfigError, match="rows of tiles"):
        join_rows(make_job("joined.tif"), [RowRange(*rows) for rows in ranges])


def test_compute_rows__one_process_at_a_range(make_job: Callable[[str], Job]) -> None:
    job, (first, second) = make_job("joined.tif"), [RowRange(0, 4), RowRange(4, 9)]

    def meanwhile(tiles: int) -> None:
        with pytest.raises(BusyError, match=r"rows-0-4\.partial"):
            compute_rows(job, first)

    compute_rows(job, first, progress=meanwhile)
    compute_rows(job, second)
