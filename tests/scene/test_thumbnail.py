"""What a notebook shows: bounded, escaped, and without anything to fetch."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from affine import Affine
from PIL import Image

import deo.scene.thumbnail
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.scene.thumbnail import card, stretch


def picture(shown: str) -> Image.Image:
    start = shown.index("data:image/png;base64,") + len("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(shown[start : shown.index('"', start)])))


@pytest.fixture
def held() -> Callable[..., Scene]:
    """Opens an array of three bands as a scene; its first row is nodata."""

    def make(height: int = 60, width: int = 90, **settings: Any) -> Scene:
        numbers = np.random.default_rng(0).integers(100, 3000, (3, height, width))
        numbers[:, 0] = 0
        place = Affine(10, 0, 500_000, 0, -10, 5_000_000)
        return open_scene(
            numbers.astype(np.uint16), bands="B04,B03,B02", nodata=0, transform=place,
            crs="EPSG:32633", **settings,
        )  # fmt: skip

    return make


def test_stretch__fills_the_range_and_leaves_nodata_transparent() -> None:
    values = np.random.default_rng(0).uniform(-5, 70, (30, 30, 3)).astype(np.float32)
    valid = np.ones((30, 30), np.bool_)
    valid[:5] = False
    values[:5] = np.nan
    image = stretch(values, valid)
    assert (image[:5] == 0).all()
    assert (image[5:, :, 3] == 255).all()
    assert image[5:, :, :3].min() == 0
    assert image[5:, :, :3].max() == 255


def test_scene__shows_true_colour_and_facts(held: Callable[..., Scene]) -> None:
    with held() as scene:
        shown = scene._repr_html_()
    image = picture(shown)
    assert image.size == (90, 60)
    assert np.asarray(image)[0, :, 3].max() == 0
    assert "True colour." in shown
    assert "EPSG:32633" in shown
    assert "http" not in shown


def test_scene__that_is_large_shows_its_middle(
    held: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deo.scene.thumbnail, "_WHOLE", 100)
    with held(1500, 1100) as scene:
        shown = scene._repr_html_()
    assert picture(shown).size == (256, 256)
    assert "1024 pixels in the middle" in shown


def test_scene__of_one_band_is_grey(held: Callable[..., Scene]) -> None:
    scene = open_scene(np.arange(64, dtype=np.uint16).reshape(1, 8, 8) + 300, bands="B08")
    shown = scene._repr_html_()
    colours = np.asarray(picture(shown))
    assert (colours[..., 0] == colours[..., 2]).all()
    assert "Band B08." in shown


def test_card__shows_html_as_text() -> None:
    shown = card("<script>", {"<b>": "a & b"}, None, '"><img src=x>')
    assert "<script>" not in shown
    assert "<img" not in shown
    assert "a &amp; b" in shown
