"""Converted weights beside the Hub's cache: found again, and doubted where they were touched."""

import os
from pathlib import Path

import pytest
import torch

from deo.errors import OutputError
from deo.models import cache, convert

ASKED = "someone/repo@abc/file.pth"


@pytest.fixture
def note(tmp_path: Path) -> cache.Note:
    tensors = {"norm.weight": torch.arange(6.0)}
    return cache.store(
        tmp_path, "micro", tensors, asked=ASKED, commit="abc", file="file.pth", sha256="f" * 64
    )


def test_folder__is_the_one_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEO_CACHE", raising=False)
    assert cache.folder(tmp_path) == tmp_path / "deo"
    monkeypatch.setenv("DEO_CACHE", str(tmp_path / "chosen"))
    assert cache.folder(tmp_path) == tmp_path / "chosen"
    assert (tmp_path / "chosen").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEO_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set DEO_CACHE or HF_HOME"):
        cache.folder(None)


def test_recall__of_the_same_source_alone(tmp_path: Path, note: cache.Note) -> None:
    assert cache.recall(tmp_path, "micro", ASKED) == note
    assert cache.recall(tmp_path, "micro", ASKED + "2") is None
    assert cache.recall(tmp_path, "other", ASKED) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"asked": 1}'])
def test_recall__a_damaged_note_is_none(tmp_path: Path, note: cache.Note, text: str) -> None:
    (tmp_path / "micro.json").write_text(text)
    assert cache.recall(tmp_path, "micro", ASKED) is None


def test_is_intact__a_touched_file_is_hashed_once(tmp_path: Path, note: cache.Note) -> None:
    path = tmp_path / note.converted
    assert cache.is_intact(tmp_path, "micro", note)
    os.utime(path, ns=(1, 1))
    assert cache.is_intact(tmp_path, "micro", note)
    again = cache.recall(tmp_path, "micro", ASKED)
    assert again is not None
    assert again.mtime_ns == 1


def test_is_intact__a_changed_file_is_not(tmp_path: Path, note: cache.Note) -> None:
    path = tmp_path / note.converted
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert not cache.is_intact(tmp_path, "micro", note)
    path.write_bytes(content[:-1])
    assert not cache.is_intact(tmp_path, "micro", note)
    path.unlink()
    assert not cache.is_intact(tmp_path, "micro", note)


def test_is_intact__another_conversion_is_made_again(
    tmp_path: Path, note: cache.Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "VERSION", convert.VERSION + 1)
    assert not cache.is_intact(tmp_path, "micro", note)
