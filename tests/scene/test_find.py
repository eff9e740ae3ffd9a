"""What a user may point at."""

import os
from pathlib import Path
from typing import Any

import pytest

from deo.errors import SceneError
from deo.scene.opening import open_scene


@pytest.mark.parametrize("what", ["missing", "long", "null", "fifo"])
def test_open__neither_file_nor_folder_is_one_error(tmp_path: Path, what: str) -> None:
    names = {"missing": "a.tif", "long": "a" * 260 + ".tif", "null": "a\0.tif", "fifo": "fifo.tif"}
    if what == "fifo":
        os.mkfifo(tmp_path / "fifo.tif")
    with pytest.raises(SceneError, match=r"does not exist|cannot be opened|neither a file"):
        open_scene(str(tmp_path / names[what]))


@pytest.mark.parametrize("source", ["missing.tif", "text.tif", "folder", [], 3, "missing.zip"])
def test_open__what_is_no_raster(tmp_path: Path, source: Any) -> None:
    (tmp_path / "text.tif").write_text("no raster at all")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SceneError):
        open_scene(tmp_path / source if isinstance(source, str) else source)
