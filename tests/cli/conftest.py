"""Scenes for commands to work on, on one thread."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from deo import MODEL_BANDS


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scene(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        values = np.random.default_rng(1).integers(100, 4000, (10, 70, 60)).astype(np.uint16)
        path = tmp_path / name
        with rasterio.open(
            path, "w", driver="GTiff", count=10, height=70, width=60, dtype="uint16", nodata=0,
            crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = tuple(MODEL_BANDS)
        return path

    return make
