"""One unit for the floating-point numbers of many images."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from deo.errors import RadiometryError
from deo.sensors.floats import Range
from deo.training.data.float_units import FloatSize, float_sizes, judge_together


def size(high: float) -> FloatSize:
    return FloatSize("float32", {"B04": Range(0.0, high)})


def test_judge_together__most_images_decide() -> None:
    assert judge_together([size(0.4), size(0.5), size(0.01)]).scale == 10_000
    with pytest.raises(RadiometryError):
        judge_together([size(40.0)] * 3)


def test_float_sizes__none_where_nothing_is_to_be_judged(tmp_path: Path) -> None:
    for dtype in ("uint16", "float32"):
        profile = {"crs": "EPSG:32633", "transform": from_origin(0, 0, 10, 10)}
        with rasterio.open(
            tmp_path / f"{dtype}.tif", "w", driver="GTiff", count=1, height=8, width=8, dtype=dtype,
            **profile,
        ) as file:  # fmt: skip
            file.write(np.full((1, 8, 8), 1).astype(dtype))
            file.set_band_description(1, "B04")
    assert float_sizes(tmp_path / "uint16.tif", bands=["B04"]) == []
    (measured,) = float_sizes(tmp_path / "float32.tif", bands=["B04"])
    assert (measured.dtype, measured.ranges["B04"].high) == ("float32", 1.0)
    assert float_sizes(tmp_path / "missing.tif") == []
