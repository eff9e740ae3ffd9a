from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deo.errors import OutputError
from deo.maps.stac import write_items

Make = Callable[..., Any]


@pytest.mark.parametrize("kind", ["stac", "mlm"])
def test_write_items__leaves_a_folder_alone(info: Make, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / f"map.{kind}.json"
    folder.mkdir()
    nothing: Any = None  # refused before it is looked at
    with pytest.raises(OutputError, match="it is a folder"):
        write_items(tmp_path / "map.tif", info(), nothing, nothing)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
