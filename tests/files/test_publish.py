import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from rasterio.errors import RasterioIOError

from deo.errors import OutputError
from deo.files.publish import (
    asked_for,
    check_folder,
    check_space,
    disk_errors,
    is_scratch,
    make_folder,
    publish,
    scratch_folder,
    write_file,
)


def test_write_file__whole_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken: it is a folder"):
        write_file(tmp_path / "taken", "text")
    write_file(tmp_path / "text", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "text"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "text").stat().st_mode & 0o777 == 0o666 & ~umask


def test_write_file__replaces_a_link_and_leaves_what_it_led_to(tmp_path: Path) -> None:
    path, other = tmp_path / "out.json", tmp_path / "victim"
    other.write_text("precious")
    path.symlink_to(other)
    write_file(path, b"new")
    assert (path.is_symlink(), path.read_bytes(), other.read_text()) == (False, b"new", "precious")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.json", "victim"]


def test_make_folder__unwritable_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*below: a part of the path is a file"):
        make_folder(tmp_path / "file" / "below")
    assert list(make_folder(tmp_path / "a" / "b").iterdir()) == []


def test_check_folder__a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no folder .*absent; make it first"):
        check_folder(tmp_path / "absent" / "map.tif")
    check_folder(tmp_path / "map.tif")
    assert list(tmp_path.iterdir()) == []


def test_check_space__more_than_is_free(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutputError, match="GiB are needed"):
        check_space(tmp_path / "map.tif", 2 * free)
    check_space(tmp_path / "map.tif", 0)


def test_scratch_folder__is_deleted_and_known_by_its_name(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as scratch:
        assert is_scratch(scratch.name)
        assert not is_scratch("writing")
        (scratch / "map.tif").touch()
        assert asked_for(scratch / "map.tif") == tmp_path / "map.tif"
    assert list(tmp_path.iterdir()) == []
    for rows in ("map.tif.partial", "map.tif.rows-0-12.partial"):
        assert asked_for(tmp_path / rows) == tmp_path / "map.tif"
        assert asked_for(tmp_path / rows / "values-0.f32") == tmp_path / "map.tif"


@pytest.mark.parametrize("error", [KeyError("x"), ZeroDivisionError(), KeyboardInterrupt()])
def test_disk_errors__leave_other_faults_alone(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), disk_errors(tmp_path / "map.tif"):
        raise error


def test_publish__replaces_no_folder_by_a_file_nor_a_file_by_a_folder(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(OutputError, match="it is a folder"):
        publish(file, folder)
    with pytest.raises(OutputError, match="it is a file"):
        publish(folder, file)
    assert file.read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("cause", "free", "said"),
    [
        (OSError(errno.ENOSPC, "?"), 2**40, "No space left on device"),
        (ValueError("TIFFAppendToStrip:Write error"), 0, "No space left on device"),
        (ValueError("TIFFAppendToStrip:Write error"), 2**40, "TIFFAppendToStrip:Write error"),
    ],
)
def test_disk_errors__say_the_reason_and_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception, free: int, said: str
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    folder = tmp_path / "map.tif.partial"
    folder.mkdir()
    with pytest.raises(OutputError) as caught, disk_errors(folder / "finished.tif"):
        raise RasterioIOError("Write failed. See previous exception for details.") from cause
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'map.tif'}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "error", [MemoryError(), np._core._exceptions._ArrayMemoryError((9,), np.dtype("f4"))]
)
def test_disk_errors__a_lack_of_memory_is_one_message(tmp_path: Path, error: Exception) -> None:
    said = r"map\.tif: there is not enough memory"
    with pytest.raises(OutputError, match=said), disk_errors(tmp_path / "map.tif"):
        raise error


def test_disk_errors__gdal_s_own_errors_are_one_message(tmp_path: Path) -> None:
    from rasterio._err import CPLE_AppDefinedError

    place = tmp_path / "a.tif.partial" / ".writing-x"
    place.mkdir(parents=True)
    said = rf"cannot write {tmp_path}/b.tif: Write error .*MiB free"
    with pytest.raises(OutputError, match=said), disk_errors(place / "b.tif"):
        raise CPLE_AppDefinedError(1, 1, "Write error")
