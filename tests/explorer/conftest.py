"""Small synthetic maps of features, written as outputs, and what opens them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from deo.explorer.levels import FeatureLevels, open_levels
from deo.explorer.session import Session, open_session
from deo.maps.metadata import MapInfo
from deo.maps.rows import CellRows, Shape
from deo.maps.sinks import feature_sink, write_output
from deo.maps.stack import open_stack

Numbers = NDArray[np.float32]


def described(shape: Shape, dtype: str, source: str) -> MapInfo:
    """Cells of 40 m in UTM zone 33 north."""
    grid = {
        "crs": "EPSG:32633", "height": shape.height * 4, "width": shape.width * 4,
        "transform": [10, 0, 500_000, 0, -10, 5_000_000],
    }  # fmt: skip
    tags = {
        "DEO_MODEL": "toy", "DEO_WEIGHTS_SHA256": "ab" * 32, "DEO_LAYER": "0", "DEO_STRIDE": "4",
        "DEO_DTYPE": dtype, "DEO_SOURCE": source, "DEO_CONTRACT": '{"name": "fixed"}',
        "DEO_GRID": json.dumps(grid),
    }  # fmt: skip
    return MapInfo(
        layer=0,
        stride=4,
        crs=CRS.from_epsg(32633),
        transform=Affine(40, 0, 500_000, 0, -40, 5_000_000),
        dtype=dtype,
        tags=tags,
        names=tuple(f"feature {i}" for i in range(shape.channels)),
        source=source,
    )


@pytest.fixture
def synthetic() -> Callable[..., Numbers]:
    """Makes features (channels, height, width): noise, the east 6 higher in channel 0.

    The first two rows hold no data.
    """

    def make(height: int = 20, width: int = 30, channels: int = 6, seed: int = 0) -> Numbers:
        data = np.random.default_rng(seed).normal(size=(channels, height, width))
        data[0, :, width // 2 :] += 6
        data[:, :2] = np.nan
        return data.astype(np.float32)

    return make


@pytest.fixture
def write_map(tmp_path: Path) -> Callable[..., Path]:
    """Writes features (channels, height, width) as an output of a name."""

    def make(
        data: Numbers, name: str = "features.tif", *, dtype: str = "float32", source: str = "s.tif"
    ) -> Path:
        rows, path = CellRows(data), tmp_path / name
        about, (_, height, width) = described(rows.shape, dtype, source), rows.shape
        write_output(
            rows,
            about,
            path,
            feature_sink(path),
            folder=tmp_path,
            height=4 * height,
            width=4 * width,
        )
        return path

    return make


@pytest.fixture
def opened() -> Iterator[Callable[..., FeatureLevels]]:
    """Opens the levels of maps; closed with the test."""
    with ExitStack() as files:

        def make(*paths: Path, budget: int | None = None) -> FeatureLevels:
            stack = files.enter_context(open_stack(list(paths)))
            return files.enter_context(open_levels(stack, paths, budget=budget))

        yield make


@pytest.fixture
def explored() -> Iterator[Callable[..., Session]]:
    """Opens a session on maps; closed with the test."""
    with ExitStack() as files:

        def make(*paths: Path, scene: Any = None) -> Session:
            return files.enter_context(open_session(list(paths), scene))

        yield make
