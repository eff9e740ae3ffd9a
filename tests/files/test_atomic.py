import os
from pathlib import Path

import pytest

from deo.files import atomic


def victim(folder: Path) -> Path:
    path = folder / "victim"
    path.write_text("precious")
    return path


def test_written__leaves_the_old_file_when_something_fails(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic.written(path) as new:
        new.write_text(f"half {1 / 0}")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.json", "old")]


def test_create__takes_no_name_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("link", victim(tmp_path).name):
        with pytest.raises(FileExistsError):
            atomic.create(tmp_path / name)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize("append", [False, True])
def test_open_unlinked__follows_no_link_and_opens_no_pipe(tmp_path: Path, append: bool) -> None:
    (tmp_path / "link").symlink_to(victim(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|no ordinary file"):
            atomic.open_unlinked(tmp_path / name, append=append)
    assert (tmp_path / "victim").read_text() == "precious"
    with atomic.open_unlinked(tmp_path / "own", append=append) as file:
        file.write(b"one")
    with atomic.open_unlinked(tmp_path / "own", append=append) as file:
        file.write(b"22")
    assert (tmp_path / "own").read_bytes() == (b"one22" if append else b"22e")


def test_replace__is_on_the_disk_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.replace

    def note(handle: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    def note_rename(*names: str) -> None:
        done.append("rename")
        rename(*names)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", note_rename)
    with atomic.written(tmp_path / "out.json") as new:
        new.write_bytes(b"new")
    assert done == ["file", "rename", "folder"]


def test_beside__never_gives_the_same_name_twice(tmp_path: Path) -> None:
    assert len({atomic.beside(tmp_path / "map.tif", "new") for _ in range(20)}) == 20
