import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import BusyError, OutputError
from deo.files import lock
from deo.maps.blend import RowBlock
from deo.maps.rows import Shape
from deo.maps.spool import Spool
from deo.maps.stream import RowBand

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


@pytest.mark.parametrize("name", ["job.json", "progress.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_spool__starts_over_when_the_journal_is_unreadable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes
) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    (tmp_path / "p" / name).write_bytes(content)
    with spool(tmp_path / "p", resume=True) as kept:
        assert kept.finished == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "starting over" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"finished": 1},
        {"finished": 1, "rows": [2]},
        {"finished": 1, "rows": [2, 1, 1]},
        {"finished": 1, "rows": {"0": 2, "1": 1}},
        {"finished": 1, "rows": [2, -1]},
        {"finished": 1, "rows": [2, 4]},
        {"finished": 1, "rows": [2, 1.0]},
        {"finished": "1", "rows": [2, 1]},
        {"finished": -1, "rows": [2, 1]},
        {"finished": True, "rows": [2, 1]},
    ],
)
def test_spool__starts_over_when_the_journal_is_nonsense(tmp_path: Path, content: Any) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    (tmp_path / "p" / "progress.json").write_text(json.dumps(content))
    with spool(tmp_path / "p", resume=True) as kept:
        assert kept.finished == 0
        kept.append(band(0))


@pytest.mark.parametrize("resume", [False, True])
def test_spool__leaves_a_folder_of_others_alone(tmp_path: Path, resume: bool) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    with pytest.raises(OutputError, match="in the way and was not made by deo; move it"):
        spool(folder, resume=resume)
    assert [path.name for path in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_spool__refuses_what_is_no_folder(tmp_path: Path, kind: str) -> None:
    folder, other = tmp_path / "p", tmp_path / "other"
    if kind == "file":
        folder.write_text("mine")
    else:
        folder.symlink_to(other)
    if kind == "link":
        spool(other).close()
    with pytest.raises(OutputError, match="in the way"):
        spool(folder)
    assert other.exists() is (kind == "link")


def test_spool__takes_an_empty_folder_and_one_half_removed(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    spool(tmp_path / "p").close()
    for name in ("lock", "job.json", "progress.json"):
        (tmp_path / "p" / name).unlink()
    with spool(tmp_path / "p", resume=True) as kept:
        kept.remove()
    assert not (tmp_path / "p").exists()


def test_spool__refuses_to_resume_another_job(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    with pytest.raises(OutputError, match="tile: 32 -> 64"):
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


def test_spool__starts_over_when_the_input_is_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, now = [["scene.tif", 10, 1], ["a.ovr", 5, 1]], [["scene.tif", 10, 2], ["a.ovr", 5, 1]]
    with spool(tmp_path / "p", job={**JOB, "source": before}) as kept:
        kept.append(band(0))
    with spool(tmp_path / "p", resume=True, job={**JOB, "source": before}) as kept:
        assert kept.finished == 1
    with spool(tmp_path / "p", resume=True, job={**JOB, "source": now}) as kept:
        assert kept.finished == 0
    assert "another than before (scene.tif); starting over" in caplog.text


@pytest.mark.parametrize("value", [32, 32.0, np.int64(32), np.float32(32)])
def test_spool__takes_equal_numbers_for_the_same_job(tmp_path: Path, value: Any) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
    with spool(tmp_path / "p", resume=True, job={**JOB, "tile": value}) as kept:
        assert kept.finished == 1


def linked(folder: Path, name: str, kind: str) -> Path:
    """A file of somebody's with a second name in the folder of a run."""
    victim = folder.parent / "victim"
    victim.write_text("precious")
    (folder / name).unlink(missing_ok=True)
    if kind == "hard":
        (folder / name).hardlink_to(victim)
    else:
        (folder / name).symlink_to(victim)
    return victim


@pytest.mark.parametrize("kind", ["hard", "symbolic"])
@pytest.mark.parametrize("name", ["values-0.f32", "valid-1.f32", "lock"])
@pytest.mark.parametrize("resume", [False, True])
def test_spool__writes_through_no_planted_link(
    tmp_path: Path, kind: str, name: str, resume: bool
) -> None:
    folder = tmp_path / "p"
    with spool(folder) as kept:
        kept.append(band(0))
    victim = linked(folder, name, kind)
    with contextlib.suppress(OutputError), spool(folder, resume=resume) as kept:
        kept.append(band(kept.finished))
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["job.json.new", "progress.json.new", ".job.json.new"])
def test_spool__has_no_name_to_be_guessed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "p"
    spool(folder).close()
    victim = linked(folder, name, "symbolic")
    with spool(folder) as kept:
        kept.append(band(0))
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("resume", [False, True])
def test_spool__clears_what_a_killed_write_left(tmp_path: Path, resume: bool) -> None:
    folder = tmp_path / "p"
    with spool(folder) as kept:
        kept.append(band(0))
    (folder / ".writing-x1" / "map.zarr").mkdir(parents=True)
    (folder / ".writing-x1" / "map.zarr" / "zarr.json").touch()
    (folder / ".progress.json.0123abcd.new").touch()
    with spool(folder, resume=resume):
        names = {path.name for path in folder.iterdir()}
    assert not {name for name in names if name.startswith(".")}


def test_spool__what_is_discarded_is_not_resumed(tmp_path: Path) -> None:
    with spool(tmp_path / "p") as kept:
        kept.append(band(0))
        kept.discard()
    assert not (tmp_path / "p").exists()


def test_spool__names_the_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file, not a folder"):
        spool(tmp_path / "file" / "p")


def test_spool__is_removed_with_its_lock_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "p"
    finished = spool(folder)
    finished.append(band(0))
    (folder / "finished.zarr" / "c").mkdir(parents=True)
    unlink = Path.unlink
    removed: list[str] = []

    def unlink_watched(path: Path, missing_ok: bool = False) -> None:
        with pytest.raises(BusyError):
            spool(folder)
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_watched)
    finished.remove()
    assert removed[-1] == "lock"
    assert not folder.exists()


def test_spool__a_lock_that_another_run_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = spool(tmp_path / "p")
    take = lock._flock

    def take_too_late(file: Any, folder: Path, **told: Any) -> bool:
        """The other run is through between the opening of its lock and the claim of it."""
        if (tmp_path / "p" / "job.json").exists():
            first.remove()
        return take(file, folder, **told)

    monkeypatch.setattr(lock, "_flock", take_too_late)
    with spool(tmp_path / "p") as second:
        second.append(band(0))
        assert (tmp_path / "p" / "values-0.f32").stat().st_size > 0
        with pytest.raises(BusyError):
            spool(tmp_path / "p")


def test_spool__many_runs_make_and_remove_one_folder(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        for _ in range(30):
            try:
                mine = spool(tmp_path / "p")
                mine.append(band(0))
                mine.remove()
            except BusyError:
                continue
            except BaseException as fault:
                faults.append(fault)
                raise

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert not list(tmp_path.iterdir())
