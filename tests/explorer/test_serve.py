"""Starting and ending the page, and telling features from a scene."""

import gc
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deo
from deo.errors import DataError
from deo.explorer.serve import part_inputs

Make = Callable[..., Any]


def test_explore__shows_the_page_in_a_frame(synthetic: Make, write_map: Make) -> None:
    with deo.explore(write_map(synthetic()), height=400) as page:
        shown = page._repr_html_()
        assert f'src="{page.url}"' in shown
        assert 'height="400"' in shown
        address, _, token = page.url.partition("#")
        assert address.startswith("http://127.0.0.1:")
        assert len(token) >= 43  # 256 bits
        assert token not in repr(page)
        with urllib.request.urlopen(address) as answer:
            assert b"deo explore" in answer.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address)
    gc.collect()  # a socket left open would warn


def test_part_inputs__tells_features_from_the_scene(
    synthetic: Make, write_map: Make, tmp_path: Path
) -> None:
    first, second = write_map(synthetic(), "a.tif"), write_map(synthetic(), "b.zarr")
    scene = tmp_path / "scene.SAFE"
    assert part_inputs([first, scene, second]) == ([first, second], scene)
    assert part_inputs([first]) == ([first], None)
    with pytest.raises(DataError, match="holds no features"):
        part_inputs([scene])
    with pytest.raises(DataError, match="one scene at most"):
        part_inputs([first, scene, tmp_path / "other.tif"])
