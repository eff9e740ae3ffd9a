"""What systems leave behind is told from data by name alone."""

import pytest

from deo.files.junk import is_junk


@pytest.mark.parametrize(
    "name", [".DS_Store", "._B02.tif", ".git", "__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"]
)
def test_is_junk__whatever_its_case(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", ["B02.tif", "macosx", "thumbs", "desktop.ini.tif", "a.b"])
def test_is_junk__never_what_a_user_named(name: str) -> None:
    assert not is_junk(name)
