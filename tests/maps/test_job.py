"""What is to be made: its record, what is lacking, and whether there is room for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deo import Extraction
from deo.errors import OutputError
from deo.maps import job as module
from deo.maps.compute import run_job
from deo.maps.job import Job, check_job, check_room, lacking


@pytest.fixture
def job(scene_file: Callable[..., Path], tmp_path: Path) -> Iterator[Job]:
    extraction = Extraction(model="test_deo_swin", untrained=True, layer=None, tile=64)
    with extraction.open(scene_file(100, 70)) as scene:
        yield extraction.job(scene, tmp_path / "map.tif")


def test_job__its_record_tells_what_decides_the_rows(job: Job) -> None:
    record = job.record()
    assert record["layers"] == [0, 1, 2, 3]
    assert (record["height"], record["width"], record["device"]) == (100, 70, "cpu")
    assert replace(job, batch_size=7).record() != record
    assert [shape.height for shape in job.shapes] == [25, 13, 7, 4]
    assert job.folder.name == "map_layer0.tif.partial"


def test_lacking__names_outputs_that_are_absent_or_damaged(job: Job) -> None:
    assert [lack.reason for lack in lacking(job)] == [None] * 4
    run_job(job)
    assert lacking(job) == []
    second = job.outputs[1].path
    second.write_bytes(second.read_bytes()[:-2000])
    (lack,) = lacking(job)
    assert lack.path == second
    assert "is damaged" in f"{lack.path} {lack.reason}"
    second.write_bytes(b"somebody else's")
    with pytest.raises(OutputError, match="was not made by deo"):
        lacking(job)


def test_check_job__refuses_an_output_whose_folder_is_missing(job: Job, tmp_path: Path) -> None:
    check_job(job)
    lost = replace(job.outputs[0], path=tmp_path / "nowhere" / "map.tif")
    with pytest.raises(OutputError, match="there is no folder"):
        check_job(replace(job, outputs=(lost,)))


def test_check_room__rows_that_are_kept_need_no_room(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(module, "check_space", lambda path, size: asked.append(size))
    check_room(job, kept=0)
    check_room(job, kept=1000)
    assert asked[0] - asked[1] == 1000
    assert asked[0] > sum(shape.bytes for shape in job.shapes)
