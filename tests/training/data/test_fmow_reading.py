"""Reading one pair of fMoW images."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


def write_raster(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, **profile: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    given = {"driver": "GTiff", "crs": "EPSG:32631", "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype, **given | profile
    ) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)
    return path


def random_image(channels: int, size: int, *, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return rng.integers(200, 9000, (channels, size, size), dtype=np.uint16)


def fmow_path(root: Path, split: str, category: str, location: int, image: int, end: str) -> Path:
    place = f"{category}_{location}"
    return root / split / category / place / f"{place}_{image}{end}"


class Fmow:
    """A small fMoW pair of trees: five Sentinel-2 records, three aerial images."""

    def __init__(self, root: Path, *, table: bool) -> None:
        self.sentinel, self.aerial = root / "fmow-sentinel", root / "fmow-rgb"
        self.images = {
            ("airport", 0, 3): random_image(13, 16, seed=1),
            ("airport", 0, 100): random_image(13, 16, seed=2),
            ("car_dealership", 7, 12): random_image(13, 16, seed=3),
        }
        for (category, location, image), values in self.images.items():
            write_raster(
                fmow_path(self.sentinel, "train", category, location, image, ".tif"), values
            )
        write_raster(fmow_path(self.sentinel, "train", "airport", 1, 0, ".tif"), random_image(1, 1))
        broken = fmow_path(self.sentinel, "train", "airport", 2, 0, ".tif")
        broken.parent.mkdir(parents=True)
        broken.write_bytes(b"II*\0 this is no raster")
        for category, location, image, level in (("airport", 0, 3, 40), ("airport", 0, 4, 60)):
            write_raster(
                fmow_path(self.aerial, "train", category, location, image, "_rgb.jpg"),
                np.full((3, 64, 48), level, np.uint8),
                driver="JPEG",
                crs=None,
                transform=None,
            )
            fmow_path(self.aerial, "train", category, location, image, "_msrgb.jpg").touch()
        # the same numbers in another split are another place
        write_raster(
            fmow_path(self.aerial, "val", "car_dealership", 7, 12, "_rgb.jpg"),
            np.full((3, 32, 32), 90, np.uint8),
            driver="JPEG",
            crs=None,
            transform=None,
        )
        if table:
            self.write_table()

    def write_table(self) -> None:
        rows = [*self.images, ("airport", 1, 0), ("airport", 2, 0), ("airport", 9, 9)]
        with (self.sentinel / "train.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "category", "location_id", "image_id", "timestamp", "polygon"])
            for number, row in enumerate(rows):
                writer.writerow([number, *row, "2018-01-01T00:00:00Z", "POLYGON ((0 0))"])


pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # writing the aerial JPEGs
)


def reasons(folder: Path) -> dict[str, str]:
    with (folder / "skipped.csv").open() as file:
        return {row["origin"]: row["reason"] for row in csv.DictReader(file)}


def test_read_pair__resampled_to_the_size(tmp_path: Path) -> None:
    data = Fmow(tmp_path, table=False)
    prepare(Preparation(source=data.sentinel, kind="fmow", size=24), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert shards.index.shape == (10, 24, 24)
    source = data.images["airport", 0, 3][CHOSEN]
    assert shards[0].mean() == pytest.approx(source.mean(), rel=0.02)


def test_read_pair__reads_by_the_evidence_of_its_files(tmp_path: Path) -> None:
    wanted = random_image(13, 8)
    for location, (values, tags) in enumerate([
        (wanted, {}),
        (wanted + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ]):  # fmt: skip
        path = fmow_path(tmp_path / "in", "train", "airport", location, 0, ".tif")
        write_raster(path, values)
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
    write_raster(
        fmow_path(tmp_path / "in", "train", "airport", 2, 0, ".tif"), (wanted / 1e4).astype("f4")
    )
    prepare(Preparation(source=tmp_path / "in", kind="fmow", size=8), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    np.testing.assert_array_equal(np.stack([shards[0], shards[1]]), [wanted[CHOSEN]] * 2)
    (reason,) = reasons(tmp_path / "out").values()
    assert "cannot be digital numbers" in reason
