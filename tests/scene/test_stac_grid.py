"""`proj:` fields of STAC items against the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deo
from deo.errors import SceneError

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"proj:epsg": 32634}, "the item says EPSG:32634, and the file is in EPSG:32633"),
        ({"proj:code": "EPSG:0"}, "which is no reference system"),
        ({"proj:shape": [70, 60]}, "says 70 x 60 pixels, and the file has 60 x 70"),
        ({"proj:transform": [10, 0, 500_010, 0, -10, 5_000_000]}, "says that its transform is"),
        ({"proj:transform": [10, "0"]}, "which are not six numbers"),
    ],
)
def test_place__is_checked_against_the_file(
    stac_item: Make, tmp_path: Path, fact: Any, said: str
) -> None:
    stac_item(tmp_path, **fact)
    with pytest.raises(SceneError, match=said):
        deo.open_scene(tmp_path / "item.json")


def test_place__that_is_stated_right_passes(stac_item: Make, tmp_path: Path) -> None:
    stac_item(tmp_path, **{"proj:code": "EPSG:32633", "proj:shape": [60, 70]})
    with deo.open_scene(tmp_path / "item.json") as scene:
        assert (scene.height, scene.width) == (60, 70)
