"""One file from the Hub: verified against its hash, and given up where it cannot be had."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from deo.errors import WeightsError
from deo.models import download as module
from deo.models.download import Download, unreachable, verify

CONTENT = b"weights"


@pytest.fixture
def downloaded(tmp_path: Path) -> Download:
    path = tmp_path / "file.pth"
    path.write_bytes(CONTENT)
    return Download(path=path, repo="someone/repo", commit="abc", file="file.pth")


def test_verify__by_the_hash_of_a_large_file_or_of_a_small_one(downloaded: Download) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    blob = hashlib.sha1(b"blob 7\0" + CONTENT).hexdigest()  # what `git hash-object` prints
    assert verify(downloaded, digest) == digest
    assert verify(downloaded, blob) == digest


def test_verify__a_damaged_file_is_removed(downloaded: Download) -> None:
    with pytest.raises(WeightsError, match=r"file\.pth is damaged \(7 bytes\).*removed"):
        verify(downloaded, "0" * 64)
    assert not downloaded.path.exists()


def test_verify__a_file_without_a_hash_is_not_used(downloaded: Download) -> None:
    with pytest.raises(WeightsError, match=r"no usable hash for hub:someone/repo@abc/file\.pth"):
        verify(downloaded, "W/tag")
    assert downloaded.path.read_bytes() == CONTENT


def test_verify__the_name_of_the_linked_blob_is_the_hash(tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    (tmp_path / digest).write_bytes(CONTENT)
    (tmp_path / "file.pth").symlink_to(tmp_path / digest)
    linked = Download(path=tmp_path / "file.pth", repo="a/b", commit="abc", file="file.pth")
    assert verify(linked, None) == digest


def test_bar__gives_up_on_a_transfer_that_keeps_starting_over() -> None:
    bar = module._Bar(total=10, disable=True)
    bar.update(5)
    for _ in range(3):
        bar.update(-5)
    with pytest.raises(ConnectionError, match="broke off 4 times"):
        bar.update(-5)


def test_unreachable__says_what_happened_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def message(error: Exception) -> str:
        return str(unreachable(error, "a/b", "main", "file.pth"))

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "answered 404" in message(EntryNotFoundError("gone"))
    cut = LocalEntryNotFoundError("not cached")
    cut.__cause__ = ConnectionError("no route\nto host")
    assert "(ConnectionError: no route). Connect once, or bring the file" in message(cut)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids" in message(cut)
