from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deo.maps.readback import open_finished

Make = Callable[..., Any]


def test_open_finished__gives_back_the_rows(
    held_rows: Make,
    info: Make,
    write: Make,
    tmp_path: Path,
) -> None:
    rows = held_rows()
    for suffix in (".tif", ".zarr"):
        for dtype, tolerance in (("float32", 0), ("float16", 1e-3), ("int8", 5e-3)):
            path, about = tmp_path / f"map{suffix}", info(dtype=dtype)
            write(rows, about, path)
            with open_finished(path, about) as finished:
                assert finished.rows.shape == rows.shape
                values = finished.rows.values(3, 29, slice(1, 4))
                whole = np.concatenate([part for _, part in finished.rows.blocks(1)])
                valid = finished.rows.valid(0, 30)
            wanted = rows.data[3:29, 1:4]
            largest = np.nanmax(np.abs(wanted), axis=(0, 2))[None, :, None]
            np.testing.assert_array_equal(np.isnan(values), np.isnan(wanted))
            assert (np.abs(np.nan_to_num(values - wanted)) <= tolerance * largest).all()
            np.testing.assert_array_equal(whole[3:29, 1:4], values)
            np.testing.assert_array_equal(valid, np.isfinite(rows.data[:, 0]))
