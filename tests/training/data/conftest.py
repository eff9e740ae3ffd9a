"""Small archives, scenes and fMoW trees of synthetic pixels, and what a preparation lists of them.

Tests cannot import one another, so what several of them need comes as two fixtures.
"""

import csv
import io
import tarfile
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import Preparation, recognise_source

ESA = [band.name for band in SENTINEL2]


class Make:
    """Writes sources of samples; `numbers` are the digital numbers of twenty (20, 10, 8, 8)."""

    def __init__(self) -> None:
        self.numbers = np.stack([self.image(10, 8, seed=seed) for seed in range(20)])

    @staticmethod
    def image(channels: int, size: int, *, seed: int = 0) -> NDArray[np.uint16]:
        rng = np.random.default_rng(seed)
        return rng.integers(200, 9000, (channels, size, size), dtype=np.uint16)

    @staticmethod
    def samples(count: int, size: int = 8, channels: int = 10) -> list[NDArray[np.uint16]]:
        rng = np.random.default_rng(0)
        return [
            rng.integers(1, 9000, (channels, size, size), dtype=np.uint16) for _ in range(count)
        ]

    @staticmethod
    def raster(
        path: Path, values: NDArray[Any], *, names: list[str] | None = None, **profile: Any
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        count, height, width = values.shape
        given = {"driver": "GTiff", "crs": "EPSG:32631", "transform": Affine(10, 0, 0, 0, -10, 0)}
        with rasterio.open(
            path,
            "w",
            count=count,
            height=height,
            width=width,
            dtype=values.dtype,
            **given | profile,
        ) as raster:
            raster.write(values)
            for number, name in enumerate(names or [], start=1):
                raster.set_band_description(number, name)
        return path

    @staticmethod
    def scenes(folder: Path, count: int = 2) -> list[NDArray[np.uint16]]:
        scenes = []
        for number in range(count):
            values = Make.image(13, 40, seed=number)
            values[:, :, 32:] = 0
            Make.raster(folder / f"city_{number}.tif", values, names=ESA, nodata=0)
            scenes.append(values)
        return scenes

    @staticmethod
    def hdf5(path: Path, images: NDArray[Any], **attributes: Any) -> Path:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images).attrs.update(attributes)
        return path

    @staticmethod
    def npy(values: NDArray[Any]) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, values)
        return buffer.getvalue()

    @staticmethod
    def tar(path: Path, members: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    @staticmethod
    def scene_plan(folder: Path, **options: Any) -> Preparation:
        return Preparation(source=folder, kind="scenes", **{"size": 16, "stride": 8, **options})

    @staticmethod
    def samples_plan(source: Path, **options: Any) -> Preparation:
        return Preparation(source=source, kind=recognise_source(source), size=8, **options)

    @staticmethod
    def fmow_path(
        root: Path, split: str, category: str, location: int, image: int, end: str
    ) -> Path:
        place = f"{category}_{location}"
        return root / split / category / place / f"{place}_{image}{end}"

    @staticmethod
    def fmow(root: Path, *, table: bool) -> "Fmow":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # of the aerial JPEGs
            return Fmow(root, table=table)


class Fmow:
    """A small fMoW pair of trees: five Sentinel-2 records, three aerial images."""

    def __init__(self, root: Path, *, table: bool) -> None:
        self.sentinel, self.aerial = root / "fmow-sentinel", root / "fmow-rgb"
        self.images = {
            ("airport", 0, 3): Make.image(13, 16, seed=1),
            ("airport", 0, 100): Make.image(13, 16, seed=2),
            ("car_dealership", 7, 12): Make.image(13, 16, seed=3),
        }
        for (category, location, image), values in self.images.items():
            Make.raster(
                Make.fmow_path(self.sentinel, "train", category, location, image, ".tif"), values
            )
        Make.raster(
            Make.fmow_path(self.sentinel, "train", "airport", 1, 0, ".tif"), Make.image(1, 1)
        )
        broken = Make.fmow_path(self.sentinel, "train", "airport", 2, 0, ".tif")
        broken.parent.mkdir(parents=True)
        broken.write_bytes(b"II*\0 this is no raster")
        for category, location, image, level in (("airport", 0, 3, 40), ("airport", 0, 4, 60)):
            Make.raster(
                Make.fmow_path(self.aerial, "train", category, location, image, "_rgb.jpg"),
                np.full((3, 64, 48), level, np.uint8),
                driver="JPEG",
                crs=None,
                transform=None,
            )
            Make.fmow_path(self.aerial, "train", category, location, image, "_msrgb.jpg").touch()
        # the same numbers in another split are another place
        Make.raster(
            Make.fmow_path(self.aerial, "val", "car_dealership", 7, 12, "_rgb.jpg"),
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


class Listed:
    """What a preparation wrote down of its samples: origins in order, reasons of those left out."""

    @staticmethod
    def reasons(folder: Path) -> dict[str, str]:
        with (folder / "skipped.csv").open() as file:
            return {row["origin"]: row["reason"] for row in csv.DictReader(file)}

    @staticmethod
    def origins(folder: Path) -> list[str]:
        with (folder / "samples.csv").open() as file:
            return [row["origin"] for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def listed() -> Listed:
    return Listed()
