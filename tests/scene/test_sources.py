"""An array in memory as a scene."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deo.errors import BandError, SceneError
from deo.scene.opening import open_scene

HEIGHT, WIDTH = 37, 53


def test_array__masked_and_thinned(numbers: Callable[..., np.ndarray]) -> None:
    array = np.ma.masked_less(numbers(2).astype("float32") / 250, 0.1)
    with open_scene(array, bands="B02,B03") as scene:
        values, valid = scene.read(scene.whole)
        np.testing.assert_array_equal(valid, ~array.mask.any(axis=0))
        assert scene.radiometry.scale == (10_000, 10_000)
        assert scene.sample(size=10).values.shape == (2, 7, 10)
        assert values[:, ~valid].max() == 0


@pytest.mark.parametrize(
    ("array", "kwargs", "error"),
    [
        (np.zeros((2, 4, 4)), {}, BandError),
        (np.zeros((2, 4, 4)), {"bands": "B02"}, BandError),
        (np.zeros((4, 4)), {"bands": "B02"}, BandError),
        (np.zeros((1, 0, 4)), {"bands": "B02"}, BandError),
        (np.zeros((1, 4, 4), complex), {"bands": "B02"}, SceneError),
        (np.zeros((1, 4, 4)), {"bands": "B02", "crs": "nowhere"}, SceneError),
        (np.zeros((1, 4, 4)), {"bands": "B02", "transform": (0, 0, 0, 0, 0, 0)}, SceneError),
        (np.zeros((1, 4, 4)), {"bands": "B02", "transform": "north"}, SceneError),
        (
            np.zeros((1, 4, 4)),
            {"bands": "B02", "transform": (10, 0, math.nan, 0, -10, 0)},
            SceneError,
        ),
    ],
)
def test_array__refused(array: np.ndarray, kwargs: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        open_scene(array, **kwargs)


def test_array__nodata_is_compared_as_it_is_stored() -> None:
    array = np.full((1, 4, 4), 0.5, "float32")
    array[:, 0] = 0.1
    with open_scene(array, bands="B02", nodata=0.1, transform=(10, 0, 5, 0, -10, 9)) as scene:
        assert scene.read(scene.whole).valid.sum() == 12
        assert scene.transform.c == 5


def test_array__beyond_float32_is_not_valid() -> None:
    array = np.full((1, 4, 4), 0.5)
    array[0, 0] = 1e300
    with open_scene(array, bands="B04") as scene:
        assert scene.read(scene.whole).valid.sum() == 12
    with open_scene(array.clip(max=1).astype("f2"), bands="B04", nodata=1e20) as scene:
        assert scene.read(scene.whole).valid.all()


@pytest.mark.parametrize("dtype", ["bool", ">c8", "datetime64[s]", "object", "U1"])
def test_array__that_holds_no_real_numbers_is_refused(dtype: str) -> None:
    with pytest.raises(SceneError, match="must be real"):
        open_scene(np.zeros((1, 4, 4), dtype), bands="B04")
