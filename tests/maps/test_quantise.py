from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deo.errors import OutputError
from deo.maps.quantise import fit_scales, to_float16, to_int8

Make = Callable[..., Any]


def test_int8__is_off_by_half_a_scale_at_most(held_rows: Make) -> None:
    rows = held_rows()
    scales = fit_scales(rows)
    stored = to_int8(rows.data, scales[:, None])
    assert stored.min() == -128
    np.testing.assert_array_equal(stored == -128, np.isnan(rows.data))
    error = np.abs(stored * scales[:, None] - rows.data)[stored != -128]
    assert error.max() <= (scales.max() / 2) * 1.0001


def test_fit_scales__of_channels_that_are_zero_or_nodata(hold: Make) -> None:
    data = np.zeros((3, 3, 4), np.float32)
    data[:, 1], data[:, 2] = np.nan, -254
    np.testing.assert_array_equal(fit_scales(hold(data)), np.float32([1 / 127, 1 / 127, 2]))


def test_to_int8__never_gives_nodata_to_a_value() -> None:
    values = np.float32([-1000, -127.4, 0.4, 126.6, 1000, np.nan])
    assert to_int8(values, np.float32(1)).tolist() == [-127, -127, 0, 127, 127, -128]


def test_to_float16__keeps_nodata_and_refuses_what_is_too_large() -> None:
    stored = to_float16(np.float32([1.0, np.nan, -65504]))
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, [1.0, np.nan, -65504])
    with pytest.raises(OutputError, match=r"1e\+05 does not fit into float16"):
        to_float16(np.float32([0, -1e5]))
