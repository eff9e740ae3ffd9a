"""One raster file or array as a scene, against rasterio's own reading of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from deo.bands import MODEL_BANDS, BandSet
from deo.contracts import fit_contract
from deo.errors import BandError, SceneError
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.scene.window import Window
from deo.sensors.known.sentinel2 import SENTINEL2

HEIGHT, WIDTH = 37, 53
NAMES = tuple(band.name for band in SENTINEL2)
UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}


@pytest.fixture(scope="module")
def both(thirteen: Path) -> Iterator[tuple[Scene, Any]]:
    with open_scene(thirteen) as scene, rasterio.open(thirteen) as file:
        yield scene, file


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_read__equals_rasterio_in_any_window_and_order(both: Any, data: st.DataObject) -> None:
    bands = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    row, col = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    height = data.draw(st.integers(1, HEIGHT - row))
    width = data.draw(st.integers(1, WIDTH - col))
    indexes = [NAMES.index(name) + 1 for name in bands]
    scene, file = both
    pixels = scene.read(Window(row=row, col=col, height=height, width=width), BandSet(bands))
    box = rasterio.windows.Window(col, row, width, height)
    stored, masks = file.read(indexes, window=box), file.read_masks(indexes, window=box)
    valid = masks.all(axis=0)
    np.testing.assert_array_equal(pixels.valid, valid)
    np.testing.assert_array_equal(pixels.values, np.where(valid, stored, 0))
    assert pixels.values.dtype == np.float32


def test_read__only_the_bands_asked_for_decide_validity(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    array = np.full((2, HEIGHT, WIDTH), 500, "uint16")
    array[1, :5] = 0
    path = write(tmp_path / "scene.tif", array, nodata=0, descriptions=("B02", "B03"))
    with open_scene(path) as scene:
        assert scene.read(scene.whole, BandSet("B02")).valid.all()
        assert not scene.read(scene.whole, BandSet("B03")).valid[:5].any()
        assert scene.read(scene.whole).valid.sum() == (HEIGHT - 5) * WIDTH


def test_read__outside_and_missing_are_refused(thirteen: Path) -> None:
    with open_scene(thirteen, bands="B02,B03") as scene:
        with pytest.raises(SceneError, match="reaches outside"):
            scene.read(Window(row=HEIGHT - 3, col=0, height=4, width=4))
        with pytest.raises(BandError, match="missing band B04; wanted B02,B04, got B02,B03"):
            scene.read(scene.whole, BandSet("B02,B04"))


def test_contract__scene_maximum_is_the_same_on_every_run(
    numbers: Callable[..., np.ndarray], thirteen: Path
) -> None:
    with open_scene(thirteen) as first, open_scene(thirteen) as second:
        contracts = [fit_contract("scene", bands=MODEL_BANDS, scene=s) for s in (first, second)]
    assert contracts[0] == contracts[1]
    rgb = numbers(13)[[NAMES.index(n) for n in ("B04", "B03", "B02")]]
    seen = rgb[:, (rgb != 0).all(axis=0)]
    assert contracts[0].rgb_maximum == pytest.approx(np.percentile(seen, 99.9))
