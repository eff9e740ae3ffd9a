"""Chips of the user's own: what their numbers mean is told as it is for scenes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.benchmarks.folder import folder_benchmark
from deo.training.tasks.dataset import Unit
from deo.training.tasks.task import Task

NUMBERS = np.random.default_rng(0).integers(200, 3000, (10, 8, 8))


def write(root: Path, values: NDArray[Any], **tags: str) -> Path:
    """Two classes of one tile each, synthetic."""
    for name in ("dry", "wet"):
        path = root / name / "0.tif"
        path.parent.mkdir(parents=True)
        with rasterio.open(
            path, "w", driver="GTiff", count=10, height=8, width=8, dtype=values.dtype,
            crs="EPSG:32630", transform=from_origin(5e5, 4e6, 10, 10),
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = tuple(MODEL_BANDS)
            file.update_tags(**tags)
    return root


@pytest.mark.parametrize(
    ("values", "tags", "given"),
    [
        (NUMBERS.astype(np.uint16), {}, {}),
        ((NUMBERS / 10_000).astype(np.float32), {}, {}),
        ((NUMBERS / 10_000).astype(np.float32), {}, {"scale": 10_000.0}),
        (((NUMBERS + 1000) / 10_000).astype(np.float32), {}, {"scale": 1e4, "offset": -1000.0}),
        ((NUMBERS + 1000).astype(np.uint16), {"PROCESSING_BASELINE": "05.09"}, {}),
        ((NUMBERS + 1000).astype(np.uint16), {}, {"offset": -1000.0}),
        ((NUMBERS // 50).astype(np.uint8), {}, {"scale": 50.0}),
    ],
)
def test_chips__come_as_digital_numbers(
    values: NDArray[Any], tags: dict[str, str], given: dict[str, float], tmp_path: Path
) -> None:
    bench = folder_benchmark(Task.CLASSIFY, write(tmp_path / "tiles", values, **tags), **given)
    assert bench.unit is Unit.DN
    (sample, _) = bench.open(tmp_path / "tiles")["all"]
    coarse = 50 if values.dtype == np.uint8 else 1
    np.testing.assert_allclose(sample.image, NUMBERS // coarse * coarse, atol=0.01)
    assert sample.valid.all()


def test_benchmark__takes_the_callers_word_for_rasters_alone() -> None:
    row = benchmark("eurosat-ms", offset=-1000.0)
    assert row.layout.offset == -1000  # type: ignore[attr-defined]
    for name in ("spacenet1", "m-eurosat", "pastis"):
        with pytest.raises(DataError, match=f"{name} has numbers of another kind"):
            benchmark(name, scale=1e4)
