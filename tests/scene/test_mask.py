"""Masks laid over a scene hold in every read and in every sample."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from deo.bands import BandSet
from deo.scene import sampling
from deo.scene.mask import NO_MASK
from deo.scene.opening import open_scene
from deo.scene.parallel import side_by_side
from deo.scene.scene import Scene
from deo.scene.window import Window

BANDS = ("B04", "B03", "B02")


@dataclass(frozen=True)
class Columns:
    """Lets through the columns from `first` on."""

    first: int
    source: str = "a mask of columns"

    def valid(self, window: Window) -> NDArray[np.bool_]:
        columns = np.arange(window.col, window.col + window.width)
        return np.broadcast_to(columns >= self.first, (window.height, window.width))


@pytest.fixture
def scene() -> Scene:
    numbers = np.arange(1, 3 * 40 * 60 + 1, dtype=np.uint16).reshape(3, 40, 60)
    numbers[:, :, 50:] = 0
    return open_scene(numbers, bands=BANDS, nodata=0)


def test_masked__read_holds_what_the_scene_and_the_mask_both_allow(scene: Scene) -> None:
    window = Window(row=5, col=10, height=4, width=50)
    plain, masked = scene.read(window), scene.masked(Columns(30)).read(window)
    assert plain.valid[:, :40].all()
    assert not plain.valid[:, 40:].any()
    assert not masked.valid[:, :20].any()
    assert masked.valid[:, 20:40].all()
    assert not masked.valid[:, 40:].any()
    np.testing.assert_array_equal(masked.values[:, masked.valid], plain.values[:, masked.valid])
    assert not masked.values[:, ~masked.valid].any()


def test_masked__every_mask_has_to_agree(scene: Scene) -> None:
    both = scene.masked(Columns(10)).masked(Columns(45))
    assert both.read(Window(row=0, col=0, height=1, width=60)).valid.sum() == 5
    assert both.mask_source == "nodata 0, a mask of columns, a mask of columns"


def test_masked__says_so_where_nothing_else_marks_a_pixel() -> None:
    scene = open_scene(np.ones((1, 4, 4), np.uint16), bands=["B04"])
    assert scene.mask_source == NO_MASK
    assert scene.masked(Columns(1)).record()["mask_source"] == "a mask of columns"


@pytest.mark.parametrize("size", [60, 20, 7])
def test_masked__sample_is_of_what_is_left(scene: Scene, size: int) -> None:
    sample = scene.masked(Columns(30)).sample(size=size)
    width = sample.valid.shape[1]
    centres = (np.arange(width) + 0.5) * 60 / width
    expected = (centres.astype(int) >= 30) & (centres.astype(int) < 50)
    assert (sample.valid == expected).all()
    every = scene.read(Window(row=0, col=0, height=40, width=60)).values[:, :, 30:50]
    assert np.isin(sample.values[:, sample.valid], every).all()


def test_masked__statistics_see_nothing_else(scene: Scene) -> None:
    values, valid = scene.masked(Columns(48)).sample()
    allowed = scene.read(Window(row=0, col=48, height=40, width=2)).values
    np.testing.assert_array_equal(np.sort(values[:, valid].ravel()), np.sort(allowed.ravel()))


def test_masked__overviews_do_not_bring_masked_pixels_back(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": 512, "height": 512, "count": 1, "dtype": "uint16"}
    place = from_origin(0, 0, 10, 10)
    with rasterio.open(path, "w", crs=32633, transform=place, **profile) as file:
        file.write(np.full((1, 512, 512), 500, np.uint16))
        file.descriptions = ("B04",)
        file.build_overviews([2, 4])
    with open_scene(path) as scene:
        sample = scene.masked(Columns(256)).sample(size=64)
        assert not sample.valid[:, :32].any()
        assert sample.valid[:, 32:].all()


def test_masked__a_huge_scene_is_sampled_by_windows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "LARGEST_SCANNED", 100)
    sample = scene.masked(Columns(30)).sample(size=32)
    assert sample.values.shape == (3, 21, 32)
    assert sample.valid.any()
    every = scene.read(Window(row=0, col=0, height=40, width=60)).values[:, :, 30:50]
    assert np.isin(sample.values[:, sample.valid], every).all()


def test_masked__survives_reading_side_by_side_and_other_bands(scene: Scene) -> None:
    with side_by_side(scene.masked(Columns(30))) as wide:
        pixels = wide.read(Window(row=0, col=0, height=2, width=60), BandSet(["B02"]))
    assert pixels.valid.sum() == 2 * 20
