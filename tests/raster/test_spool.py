import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import OutputError
from deo.raster.blend import RowBlock
from deo.raster.extract import RowBand
from deo.raster.spool import Shape, Spool

SHAPES = (Shape(3, 6, 5), Shape(2, 3, 3))
JOB = {"model": "toy", "tile": 32}


def band(index: int) -> RowBand:
    """Rows of tiles that finish two rows of the first layer and one of the second."""
    rng = np.random.default_rng(index)
    blocks = []
    for layer, (rows, shape) in enumerate(zip((2, 1), SHAPES, strict=True)):
        values = rng.normal(size=(rows, shape.channels, shape.width)).astype(np.float32)
        values[0, :, 0] = np.nan
        valid = rng.uniform(size=(rows, shape.width)).astype(np.float32)
        blocks.append(RowBlock(layer, index * rows, values, valid))
    return RowBand(index, tuple(blocks))


def spool(folder: Path, *, resume: bool = False, job: Any = None) -> Spool:
    return Spool(folder, job=job or JOB, shapes=SHAPES, resume=resume)


def test_spool__gives_back_what_was_appended(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        for index in range(3):
            kept.append(band(index))
        for layer in (0, 1):
            rows = kept.layer(layer)
            values = np.concatenate([band(index).blocks[layer].values for index in range(3)])
            valid = np.concatenate([band(index).blocks[layer].valid for index in range(3)])
            height = SHAPES[layer].height
            np.testing.assert_array_equal(rows.values(0, height), values)
            np.testing.assert_array_equal(rows.values(1, 3, slice(1, 2)), values[1:3, 1:2])
            np.testing.assert_array_equal(rows.valid(1, height), valid[1:])
            parts = list(rows.blocks(budget=1))
            assert [start for start, _ in parts] == list(range(height))
            np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), values)


def test_spool__resumes_after_the_last_whole_row_of_tiles(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    with (tmp_path / "p" / "values-0.f32").open("ab") as file:
        file.write(b"half a row")  # what a kill in the middle of an append leaves
    with spool(tmp_path / "p", resume=True) as kept:
        assert kept.finished == 1
        kept.append(band(1))
        kept.append(band(2))
        wanted = np.concatenate([band(index).blocks[0].values for index in range(3)])
        np.testing.assert_array_equal(kept.layer(0).values(0, 6), wanted)


def test_spool__starts_over_without_resume(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    with spool(tmp_path / "p") as kept:
        assert kept.finished == 0
        assert (tmp_path / "p" / "values-0.f32").stat().st_size == 0


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_spool__starts_over_when_the_journal_is_unreadable(tmp_path: Path, content: str) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    (tmp_path / "p" / "progress.json").write_text(content)
    with spool(tmp_path / "p", resume=True) as kept:
        assert kept.finished == 0


def test_spool__refuses_to_resume_another_job(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    with pytest.raises(OutputError, match="tile: 32 before, 64 now"):
        spool(tmp_path / "p", resume=True, job={**JOB, "tile": 64})
    assert json.loads((tmp_path / "p" / "progress.json").read_text())["finished"] == 1


def test_spool__refuses_files_shorter_than_the_journal(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    (tmp_path / "p" / "valid-1.f32").write_bytes(b"")
    with pytest.raises(OutputError, match="shorter than its journal"):
        spool(tmp_path / "p", resume=True)


def test_spool__is_for_one_run_at_a_time(tmp_path: Path) -> None:
    with spool(tmp_path / "p"), pytest.raises(OutputError, match="another run"):
        spool(tmp_path / "p")
    spool(tmp_path / "p").close()


def test_spool__names_the_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file, not a folder"):
        spool(tmp_path / "file" / "p")
