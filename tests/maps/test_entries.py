from collections.abc import Sequence
from pathlib import Path

import pytest

from deo.errors import ConfigError
from deo.maps.entries import Entry, read_entries


def sources(arguments: Sequence[str]) -> list[str]:
    return [entry.source for entry in read_entries(arguments)]


def test_read_entries__arguments_and_lists(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# scenes\na.tif\n\n  https://host/b.tif  \n")
    listed = sources(["x.tif", f"@{tmp_path / 'list.txt'}", "y.SAFE"])
    assert listed == ["x.tif", "a.tif", "https://host/b.tif", "y.SAFE"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00"])
def test_read_entries__refuses_lists_with_nothing_in_them(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"no scenes given|cannot be read"):
        read_entries([f"@{tmp_path / 'list.txt'}"])


def test_read_entries__names_a_missing_list() -> None:
    with pytest.raises(ConfigError, match=r"nowhere.txt cannot be read"):
        read_entries(["@nowhere.txt"])


def test_read_entries__a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.tif\nb.tif\n".encode())
    assert sources([f"@{tmp_path / 'list.txt'}"]) == ["a.tif", "b.tif"]


def test_read_entries__columns(tmp_path: Path) -> None:
    tabs, commas = tmp_path / "list.txt", tmp_path / "list.csv"
    tabs.write_text("Scene\tOutput\n# a note\n\na, b.tif\tx.tif\n\nc.tif\nd.tif\t\tp.png\n")
    assert read_entries([f"@{tabs}"]) == [
        Entry("a, b.tif", "x.tif"), Entry("c.tif"), Entry("d.tif", "", "p.png")
    ]  # fmt: skip
    commas.write_text('\ufeffsource\r\n"a, b.tif","x ""1"".tif"\r\nc.tif\r\n')
    assert read_entries([f"@{commas}"]) == [Entry("a, b.tif", 'x "1".tif'), Entry("c.tif")]


def test_read_entries__the_first_scene_is_no_heading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("scene\nb.tif\n")
    assert sources(["@list.txt"]) == ["scene", "b.tif"]
    (tmp_path / "list.csv").write_text("scene,x.tif\nb.tif,y.tif\n")
    assert sources(["@list.csv"]) == ["b.tif"]
    (tmp_path / "scene").mkdir()
    assert sources(["@list.csv"]) == ["scene", "b.tif"]


@pytest.mark.parametrize("line", ["a.tif\tb.tif\tc.png\td", "a.tif\tb.tif\n\tc.tif\tx\td\te"])
def test_read_entries__refuses_other_columns(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(ConfigError, match="wanted are a scene and"):
        read_entries([f"@{tmp_path / 'list.txt'}"])
