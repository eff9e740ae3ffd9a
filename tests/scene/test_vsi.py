"""Bytes and headers that GDAL fetches, from a server on this machine."""

from pathlib import Path
from typing import Any

import pytest

from deo.scene import vsi
from deo.scene.gdal import gdal
from deo.scene.vsi import headers, open_virtual


def test_chunks__are_the_bytes_of_the_file(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 300
    (tmp_path / "a.bin").write_bytes(content)
    (tmp_path / "none.bin").write_bytes(b"")
    monkeypatch.setattr(vsi, "_CHUNK", 50_000)
    for path in (str(tmp_path / "a.bin"), f"/vsicurl/http://{server.address}/a.bin"):
        with gdal(path, "read it"), open_virtual(path) as file:
            parts = list(file.chunks())
        assert file.size == len(content)
        assert [len(part) for part in parts] == [50_000, 26_800]
        assert b"".join(parts) == content
    with open_virtual(str(tmp_path / "none.bin")) as file:
        assert list(file.chunks()) == []


def test_chunks__fewer_bytes_than_the_file_has_are_an_error(server: Any, tmp_path: Path) -> None:
    (tmp_path / "cut.bin").write_bytes(bytes(100_000))
    path = f"/vsicurl/http://{server.address}/cut.bin"
    with open_virtual(path) as file:
        server.faults = ["cut"] * 9
        chunks = file.chunks()
        with pytest.raises(OSError, match=r"\w"):
            next(chunks)


def test_open_virtual__absent(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"\w"), open_virtual(str(tmp_path / "absent")):
        pass


def test_headers__of_an_object_are_those_of_now(store: Any, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "key.tif").write_bytes(b"12345")
    for tag in ('"one"', '"two"'):
        store.headers = {"ETag": tag}
        with gdal("s3://bucket/key.tif", "ask"):
            stated = headers("/vsis3/bucket/key.tif")
        assert (stated["etag"], stated["content-length"]) == (tag, "5")
    assert headers(str(tmp_path / "bucket" / "key.tif")) == {}
