"""Tiles of a scene lie where the features do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from deo.errors import SceneError
from deo.explorer.colour import TrueColour
from deo.maps.stack import open_stack
from deo.scene.opening import open_scene

Make = Callable[..., Any]


@pytest.fixture
def scene_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a synthetic scene of 80 x 120 pixels: dark, with a bright square at rows 40 to 59,
    columns 80 to 99."""

    def make(west: float = 500_000, epsg: int = 32633) -> Path:
        numbers = np.full((3, 80, 120), 300, np.uint16)
        numbers += np.arange(80 * 120, dtype=np.uint16).reshape(80, 120) % 7
        numbers[:, 40:60, 80:100] = 3000
        path = tmp_path / "scene.tif"
        profile = {
            "driver": "GTiff", "dtype": "uint16", "count": 3, "height": 80, "width": 120,
            "nodata": 0, "crs": CRS.from_epsg(epsg),
            "transform": Affine(10, 0, west, 0, -10, 5_000_000),
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(numbers)
            file.descriptions = ("B04", "B03", "B02")
        return path

    return make


def test_tile__shows_the_scene_at_each_level(
    synthetic: Make, write_map: Make, scene_file: Make
) -> None:
    with open_stack(write_map(synthetic())) as stack, open_scene(scene_file()) as scene:
        colour = TrueColour(scene, stack.info)
        assert colour.finest == -2
        near = colour.tile(-2, 0, 0)  # a cell of the tile is a pixel of the scene
        assert near[50, 90].tolist() == [255] * 4
        assert near[30, 90, :3].max() < 60
        assert near[90, 50, 3] == near[50, 125, 3] == 0  # beyond the scene
        cells = colour.tile(0, 0, 0)
        assert cells[12, 22].tolist() == [255] * 4
        assert cells[7, 22, :3].max() < 60
        assert cells[21, 0, 3] == 0
        far = colour.tile(1, 0, 0)  # from the sample
        assert far[6, 11].tolist() == [255] * 4
        assert far[11, 0, 3] == 0


def test_true_colour__refuses_a_scene_of_another_grid(
    synthetic: Make, write_map: Make, scene_file: Make
) -> None:
    with (
        open_stack(write_map(synthetic())) as stack,
        open_scene(scene_file(epsg=32634)) as scene,
        pytest.raises(SceneError, match="EPSG:32634, not EPSG:32633"),
    ):
        TrueColour(scene, stack.info)


def test_tile__of_a_scene_beside_the_features_is_empty(
    synthetic: Make, write_map: Make, scene_file: Make
) -> None:
    beside = scene_file(west=600_000)
    with open_stack(write_map(synthetic())) as stack, open_scene(beside) as scene:
        assert not TrueColour(scene, stack.info).tile(0, 0, 0).any()
