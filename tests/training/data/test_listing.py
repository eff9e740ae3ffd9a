"""What lies below a folder."""

import logging
from pathlib import Path

import pytest

from deo.errors import DataError
from deo.training.data.listing import files_below, files_in, raster_named, say_left_out


def test_files_below__links_once_and_under_their_real_name(tmp_path: Path) -> None:
    for name in ("in/z/a.tif", "store/b.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    root = tmp_path / "in"
    (root / "a_link_to_z").symlink_to(root / "z")
    (root / "up").symlink_to(tmp_path)
    (root / "gone.tif").symlink_to(tmp_path / "nothing")
    listed = [str(path.relative_to(root)) for path in files_below(root)]
    # a broken link is listed, so that reading it says what is wrong
    assert listed == ["gone.tif", "z/a.tif", "up/store/b.tif"]
    assert [path.name for path in files_below(root / "a_link_to_z")] == ["a.tif"]


def test_files_below__junk_and_the_inside_of_products_are_passed_over(tmp_path: Path) -> None:
    for name in (
        "__MACOSX/a.tif",
        ".hidden/a.tif",
        "X.SAFE/GRANULE/a.jp2",
        "b/.DS_Store",
        "b/a.tif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in files_below(tmp_path)] == ["X.SAFE", "a.tif"]


def test_files_below__a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be listed"):
        list(files_below(tmp_path / "nothing"))


def test_files_in__any_case_of_a_suffix(tmp_path: Path) -> None:
    for name in ("b.TIF", "a.Jp2", "c.tiff", "._b.TIF", "d.png"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path)] == ["a.Jp2", "b.TIF", "c.tiff"]
    assert files_in(tmp_path / "nothing") == []
    assert raster_named(tmp_path, "b") == tmp_path / "b.TIF"
    assert raster_named(tmp_path, "d") is None


def test_say_left_out__counts_kinds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        say_left_out(tmp_path, [Path("a.tif.aux.xml")], because="so")
        assert not caplog.records
        say_left_out(tmp_path, map(Path, ("a.PNG", "b.png", "README")), because="so")
    assert "3 files are left out, so: 2 .png, 1 README" in caplog.text
