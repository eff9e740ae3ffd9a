"""PNGs read back."""

import io

import numpy as np
from PIL import Image

from deo.explorer.paint import (
    Stretch,
    class_png,
    colour_png,
    fit_stretch,
    paint_colours,
    ramp_colours,
    ramp_png,
)


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_ramp_png__goes_from_dark_to_bright_and_leaves_out_what_is_missing() -> None:
    values = np.array([[-5, 0, 0.5, 1, 7, np.nan]], np.float32)
    image = decoded(ramp_png(values, 0, 1))[0]
    palette = ramp_colours()
    np.testing.assert_array_equal(image[:2, :3], [palette[0]] * 2)
    np.testing.assert_array_equal(image[2, :3], palette[127])
    np.testing.assert_array_equal(image[3:5, :3], [palette[254]] * 2)
    assert image[:, 3].tolist() == [255, 255, 255, 255, 255, 0]
    assert image[4, :3].sum() > image[0, :3].sum()


def test_class_png__has_the_colours_of_the_classes() -> None:
    image = decoded(class_png(np.array([[0, 1, 255]], np.uint8), [(1, 2, 3), (200, 100, 50)]))
    assert image[0].tolist()[:2] == [[1, 2, 3, 255], [200, 100, 50, 255]]
    assert image[0, 2, 3] == 0


def test_paint_colours__fills_the_range_between_the_percentiles() -> None:
    values = np.linspace(0, 100, 101, dtype=np.float32)[:, None].repeat(3, axis=1)
    stretch = fit_stretch(values)
    np.testing.assert_allclose(stretch.low, 2)
    np.testing.assert_allclose(stretch.high, 98)
    grid = np.array([[[0, 50, 99], [np.nan, 50, 50]]], np.float32)
    image = decoded(colour_png(paint_colours(grid, stretch)))
    assert image[0, 0].tolist() == [0, 128, 255, 255]
    assert image[0, 1, 3] == 0


def test_fit_stretch__of_nothing_is_harmless() -> None:
    stretch = fit_stretch(np.empty((0, 3), np.float32))
    assert isinstance(stretch, Stretch)
    assert (stretch.high > stretch.low).all()
