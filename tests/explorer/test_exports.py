"""The command names what was given; the map does not outlive its use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deo.errors import DataError
from deo.explorer.exports import command, exported_map


def test_command__quotes_names() -> None:
    given = [Path("my features.tif"), "b;c.zarr"]
    assert command(given) == (
        "deo classify 'my features.tif' 'b;c.zarr' --labels labels.geojson -o map.tif"
    )


def test_exported_map__leaves_nothing_behind_where_it_fails(
    synthetic: Callable[..., Any], write_map: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    path, folder = write_map(synthetic()), tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(DataError), exported_map([path], "{}"):
        pass
    assert list(folder.iterdir()) == []
