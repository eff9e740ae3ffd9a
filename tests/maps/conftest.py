"""Maps held in memory, and what they are written with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform as reproject

from deo.maps.metadata import MapInfo, sensing_time
from deo.maps.rows import Shape
from deo.maps.sinks import feature_sink, write_output


@dataclass(frozen=True, kw_only=True)
class HeldRows:
    data: NDArray[np.float32]  # (height, channels, width)
    fraction: NDArray[np.float32]  # (height, width)

    @property
    def shape(self) -> Shape:
        height, channels, width = self.data.shape
        return Shape(channels, height, width)

    def values(self, start: int, stop: int, channels: slice = slice(None)) -> Any:
        return self.data[start:stop, channels].copy()

    def valid(self, start: int, stop: int) -> Any:
        return self.fraction[start:stop].copy()

    def blocks(self, budget: int = 0) -> Any:
        for start in range(0, len(self.data), 7):
            yield start, self.values(start, start + 7)


@pytest.fixture
def hold() -> Callable[..., HeldRows]:
    """Holds (height, channels, width) as finished rows, valid where the first channel is finite."""

    def make(data: NDArray[np.float32]) -> HeldRows:
        return HeldRows(data=data, fraction=np.isfinite(data[:, 0]).astype(np.float32))

    return make


@pytest.fixture
def held_rows() -> Callable[..., HeldRows]:
    """Makes random rows whose upper left corner is nodata, with a row of cells valid in part."""

    def make(height: int = 30, width: int = 41, channels: int = 5) -> HeldRows:
        rng = np.random.default_rng(3)
        data = rng.normal(size=(height, channels, width)).astype(np.float32)
        data *= np.logspace(-2, 2, channels, dtype=np.float32)[:, None]
        fraction = np.ones((height, width), np.float32)
        fraction[: height // 3, : width // 3] = 0
        fraction[height // 3, : width // 3] = 0.25
        data.transpose(0, 2, 1)[fraction == 0] = np.nan
        return HeldRows(data=data, fraction=fraction)

    return make


@pytest.fixture
def info() -> Callable[..., MapInfo]:
    """Makes the description of a toy model's map, with changes."""

    def make(channels: int = 5, **changes: Any) -> MapInfo:
        facts: dict[str, Any] = {
            "layer": 1,
            "stride": 4,
            "crs": CRS.from_epsg(32633),
            "transform": Affine(40, 0, 500_000, 0, -40, 5_000_000),
            "dtype": "float32",
            "tags": {"DEO_MODEL": "toy", "DEO_LAYER": "1", "DEO_CONTRACT": '{"name": "scene"}'},
            "names": tuple(f"feature {index}" for index in range(channels)),
            "source": "scene_20200102.tif",
            "datetime": sensing_time("scene_20200102.tif"),
            **changes,
        }
        return MapInfo(**facts)

    return make


@pytest.fixture
def write() -> Callable[..., None]:
    """Writes rows as `target`, which leaves nothing else behind."""

    def make(rows: HeldRows, about: MapInfo, target: Path, **options: Any) -> None:
        folder = target.parent / "work"
        folder.mkdir(exist_ok=True)
        sink = feature_sink(target, **options)
        height, width = rows.shape.height * 4 - 3, rows.shape.width * 4 - 1
        write_output(rows, about, target, sink, folder=folder, height=height, width=width)
        assert list(folder.iterdir()) == []

    return make


@pytest.fixture
def feature_file(hold: Callable[..., HeldRows], info: Callable[..., MapInfo],
                 write: Callable[..., None], tmp_path: Path) -> Callable[..., Path]:  # fmt: skip
    """Writes synthetic features of two halves, west and east, as a GeoTIFF or a Zarr group.

    Cells are of 40 m in UTM zone 33 north; those of the first two rows hold no data.
    """

    def make(
        name: str = "features.tif", *, height: int = 20, width: int = 30, channels: int = 6,
        seed: int = 0, factor: int = 1, dtype: str = "float32", **tags: str,
    ) -> Path:  # fmt: skip
        rng = np.random.default_rng(seed)
        data = rng.normal(size=(height, channels, width)).astype(np.float32)
        data[:, :3, width // 2 :] += 6
        data[: 2 // factor] = np.nan
        place = Affine(40 * factor, 0, 500_000, 0, -40 * factor, 5_000_000)
        grid = {
            "crs": "EPSG:32633", "height": height * 4 * factor, "width": width * 4 * factor,
            "transform": [10, 0, 500_000, 0, -10, 5_000_000],
        }  # fmt: skip
        said = {
            "DEO_MODEL": "toy", "DEO_WEIGHTS_SHA256": "ab" * 32, "DEO_LAYER": "0",
            "DEO_STRIDE": str(4 * factor), "DEO_DTYPE": dtype, "DEO_SOURCE": "scene.tif",
            "DEO_CONTRACT": '{"name": "fixed"}', "DEO_GRID": json.dumps(grid),
            **{f"DEO_{key.upper()}": value for key, value in tags.items()},
        }  # fmt: skip
        about = info(channels, layer=0, stride=4 * factor, transform=place, tags=said, dtype=dtype)
        write(hold(data), about, tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def points(tmp_path: Path) -> Callable[..., Path]:
    """Writes points at cells of `feature_file` with their classes as GeoJSON."""

    def make(
        places: Sequence[tuple[float, float, Any]], name: str = "points.geojson", **columns: Any
    ) -> Path:
        rows, cols, classes = (np.array(part) for part in zip(*places, strict=True))
        x, y = 500_000 + 40 * (cols + 0.5), 5_000_000 - 40 * (rows + 0.5)
        xs, ys = reproject("EPSG:32633", "EPSG:4326", x, y)
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
                "properties": {
                    "class": label,
                    **{key: values[at] for key, values in columns.items()},
                },
            }
            for at, (lon, lat, label) in enumerate(zip(xs, ys, classes.tolist(), strict=True))
        ]
        path = tmp_path / name
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return path

    return make
