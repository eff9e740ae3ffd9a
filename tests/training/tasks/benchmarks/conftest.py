"""Small files for miniature trees in the layouts of the authors, and what every layout promises."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, PRODUCT_BANDS, BandSet
from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.task import Task

UTM = {"crs": "EPSG:32630", "transform": from_origin(5e5, 4e6, 10, 10)}


class Write:
    """Writes rasters, and makes the values for them."""

    @staticmethod
    def plane(level: int, size: int = 8) -> np.ndarray:
        return np.full((size, size), level, np.uint16)

    @classmethod
    def stack(cls, names: Sequence[str], size: int = 8) -> np.ndarray:
        """Each band holds a hundred times its place among the thirteen, so that order shows."""
        places = [PRODUCT_BANDS.names.index(name) + 1 for name in names]
        return np.stack([cls.plane(100 * place, size) for place in places])

    @staticmethod
    def tif(path: Path, array: np.ndarray, names: Sequence[str] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = array if array.ndim == 3 else array[None]
        count, height, width = array.shape
        options = {"count": count, "height": height, "width": width, "dtype": array.dtype, **UTM}
        with rasterio.open(path, "w", driver="GTiff", **options) as out:
            out.write(array)
            if names:
                out.descriptions = names

    @staticmethod
    def png(path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = array if array.ndim == 3 else array[None]
        count, height, width = array.shape
        options = {"count": count, "height": height, "width": width, "dtype": "uint8"}
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            out = rasterio.open(path, "w", driver="PNG", **options)
        with out:
            out.write(array.astype(np.uint8))


@pytest.fixture(scope="session")
def write() -> Write:
    return Write()


@pytest.fixture(scope="session")
def read_all() -> Callable[[str, Path], None]:
    """Checks every sample of a tree of chips of 8 x 8: shape, type, and the order of the bands."""

    def check(name: str, root: Path) -> None:
        bench = benchmark(name)
        bands = BandSet([band for band in MODEL_BANDS if band in bench.layout.bands])
        splits = bench.open(root, bands=bands)
        assert set(splits) in ({"all"}, {"train", "test"}, {"train", "valid", "test"})
        for sample in (sample for split in splits.values() for sample in split):
            dates = (2,) if bench.task is Task.CHANGE else ()
            assert sample.image.shape == (*dates, len(bands), 8, 8)
            assert sample.image.dtype == np.float32
            if len(bands) == 10:
                places = [PRODUCT_BANDS.names.index(band) + 1 for band in bands]
                assert (sample.image[..., 4, 4] // 100 == places).all()

    return check


@pytest.fixture(scope="session")
def refuses_without() -> Callable[[str, Path, str, str], None]:
    """Checks that a tree which lacks a file or folder is refused with this message."""

    def check(name: str, root: Path, lost: str, message: str) -> None:
        path = root / lost
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        with pytest.raises(DataError, match=f"{name} is not complete: .*{message}"):
            benchmark(name).open(root)

    return check
