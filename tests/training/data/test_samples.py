"""Samples: shards, HDF5, tars, scenes, and what each says when it is broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.samples import open_samples

ESA = [band.name for band in SENTINEL2]


def random_samples(count: int, size: int = 8, channels: int = 10) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 9000, (channels, size, size), dtype=np.uint16) for _ in range(count)]


def write_scene(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, nodata: int | None = 0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(10, 0, 500000, 0, -10, 5000000),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)


def test_scenes__nothing_usable_is_said(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", random_samples(1, size=12, channels=13)[0], names=ESA)
    with pytest.raises(DataError, match="not one cut of 96 x 96"):
        open_samples(tmp_path)


def test_open_samples__empty_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no samples"):
        open_samples(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_samples(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is of a kind that cannot be read"):
        open_samples(tmp_path / "notes.txt")


def test_own_source__the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Path(__file__).parents[3] / "docs" / "data.md"
    code = document.read_text().split("```python\n")[1].split("```")[0]
    assert code.count("\n") <= 26
    (tmp_path / "my_data.py").write_text(code.replace("/data/mine", str(tmp_path)))
    sample = random_samples(1)[0]
    np.savez(tmp_path / "a.npz", **dict(zip(MODEL_BANDS, sample, strict=True)))
    monkeypatch.syspath_prepend(str(tmp_path))
    samples = open_samples("my_data:open_mine")
    assert len(samples) == 1
    np.testing.assert_array_equal(samples[0], sample)
    for wrong in ("my_data:missing", "no_such_module:x", "my_data:Mine"):
        with pytest.raises(DataError, match="names no callable that returns samples"):
            open_samples(wrong)
