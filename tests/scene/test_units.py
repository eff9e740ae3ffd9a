"""The unit of floating-point numbers that no metadata tell."""

import numpy as np
import pytest

from deo.errors import RadiometryError
from deo.scene.opening import open_scene

HEIGHT, WIDTH = 37, 53


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f8", "<f2", ">f2", "longdouble"])
@pytest.mark.parametrize("factor", [1, 10_000])
def test_array__of_any_floats_is_what_its_numbers_are(dtype: str, factor: float) -> None:
    array = (np.random.default_rng(0).uniform(0.01, 0.9, (1, 40, 40)) * factor).astype(dtype)
    array[0, 0, 0] = np.nan
    with open_scene(array, bands="B04") as scene:
        assert scene.radiometry.scale == (10_000 / factor,)
        values, valid = scene.read(scene.whole)
        np.testing.assert_allclose(
            values[valid[None]], array[:, valid].astype("f4")[0] * (10_000 / factor), rtol=1e-3
        )
        assert valid.sum() == 1599
        assert scene.mask_source == "numbers that are not finite"


@pytest.mark.parametrize("number", [9.96921e36, 1e20, np.finfo("f4").max])
def test_floats__with_an_undeclared_fill_far_above_are_refused(number: float) -> None:
    array = np.full((1, 40, 40), 0.2, "float32")
    array[0, 0, 0] = number
    with pytest.raises(RadiometryError, match=r"numbers up to .*-a_nodata"):
        open_scene(array, bands="B04")
