"""The index of shards, and what is said of a broken one."""

import json
from pathlib import Path
from typing import Any

import pytest

from deo.errors import DataError
from deo.training.data.samples import open_samples
from deo.training.data.shard_index import Index
from deo.training.data.shards import (
    Shards,
    write_shards,
)


def test_shards__missing_index_is_said(tmp_path: Path, make: Any) -> None:
    write_shards(tmp_path, make.samples(2))
    (tmp_path / "index.json").unlink()
    for open_it in (Shards, open_samples):
        with pytest.raises(DataError, match=r"has no index.json.*deo prepare"):
            open_it(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other", "version": 1}'])
def test_shards__broken_index_is_said(tmp_path: Path, text: str, make: Any) -> None:
    write_shards(tmp_path, make.samples(2))
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DataError, match=r"index\.json"):
        Shards(tmp_path)


def test_index__a_checksum_short_is_said(tmp_path: Path, make: Any) -> None:
    write_shards(tmp_path, make.samples(2))
    found = json.loads((tmp_path / "index.json").read_text())
    found["shards"][0]["crc32"] = found["shards"][0]["crc32"][8:]
    (tmp_path / "index.json").write_text(json.dumps(found))
    with pytest.raises(DataError, match="damaged"):
        Index.read(tmp_path)
