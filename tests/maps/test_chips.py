from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import ConfigError, OutputError
from deo.maps.chips import areas, check_side, pool, spool_chips

Make = Callable[..., Any]


def test_pool__is_the_mean_by_valid_fraction(held_rows: Make, info: Make) -> None:
    rows = held_rows()
    rows_of_chips = list(pool(rows, info(), chip=32, height=117, width=163))
    assert [len(chips.windows) for chips in rows_of_chips] == [5, 6, 6, 6]
    chips = rows_of_chips[1]
    np.testing.assert_array_equal(chips.windows[0], [32, 0, 32, 32])
    np.testing.assert_array_equal(chips.windows[-1], [32, 160, 32, 3])
    weight, values = rows.fraction[8:16, :8], np.nan_to_num(rows.data[8:16, :, :8])
    mean = (values * weight[:, None]).sum(axis=(0, 2)) / weight.sum()
    np.testing.assert_allclose(chips.embedding[0], mean, rtol=1e-5)
    assert chips.valid_fraction[0] == pytest.approx(weight.sum() / 64)


def test_spool_chips__are_those_of_all_rows(held_rows: Make, info: Make, tmp_path: Path) -> None:
    rows = held_rows()
    chips = spool_chips(rows, info(), tmp_path / "x", chip=32, height=117, width=163)
    parts = list(pool(rows, info(), chip=32, height=117, width=163))
    for spooled, column in zip(chips, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(spooled, np.concatenate(column))
    backwards = chips.take(np.array([3, 0]))
    np.testing.assert_array_equal(backwards.embedding[1], chips.embedding[0])
    np.testing.assert_array_equal(backwards.windows[0], chips.windows[3])


@pytest.mark.parametrize(("chip", "said"), [(30, "try 32"), (0, "try 4"), (2, "try 4")])
def test_check_side__names_one_that_would_do(info: Make, chip: int, said: str) -> None:
    check_side(info(), 32)
    with pytest.raises(ConfigError, match=said):
        check_side(info(), chip)


def test_areas__of_windows_in_pixels(info: Make) -> None:
    degrees = info(crs=CRS.from_epsg(4326), transform=Affine(0.4, 0, 10, 0, -0.4, 50))
    (area,) = areas(degrees, np.array([[8, 4, 4, 2]]))
    np.testing.assert_allclose(area.box, [10.4, 48.8, 10.6, 49.2])
    with pytest.raises(OutputError, match="chips have no place"):
        areas(info(crs=None), np.array([[0, 0, 4, 4]]))
