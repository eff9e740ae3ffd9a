"""Fields and roofs: PASTIS and SpaceNet v1 in their own layouts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from deo.bands import RGB_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.files.documents import load_json
from deo.training.data.arrays import read_npy
from deo.training.data.listing import files_below, is_raster
from deo.training.data.reading import read_image
from deo.training.tasks.dataset import (
    IGNORE,
    SPLITS,
    Sample,
    absent,
    read_split_file,
    same_shape,
)

PASTIS_BANDS = BandSet(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))


@dataclass(frozen=True, kw_only=True)
class PASTIS:
    """`DATA_S2/S2_<id>.npy` (T, 10, 128, 128) and `ANNOTATIONS/TARGET_<id>.npy` (band 0).

    Folds 1 to 3 train, 4 validates, 5 tests; class 19 is void and ignored. One date stands for
    the series: the median over time, which clouds do not move.
    """

    bands: BandSet = PASTIS_BANDS
    _folds: ClassVar = {1: "train", 2: "train", 3: "train", 4: "valid", 5: "test"}
    void: ClassVar = 19

    def problems(self, root: Path) -> Iterator[str]:
        if not (root / "metadata.geojson").is_file():
            yield f"split file metadata.geojson is missing below {root}"
            return
        names = [name for part in self.splits(root).values() for name in part]
        yield from absent(root, [f"DATA_S2/S2_{name}.npy" for name in names], what="series")
        masks = [f"ANNOTATIONS/TARGET_{name}.npy" for name in names]
        yield from absent(root, masks, what="annotations")

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        def parse(path: Path) -> dict[str, tuple[str, ...]]:
            parts: dict[str, list[str]] = {split: [] for split in SPLITS}
            for feature in load_json(path)["features"]:
                properties = feature["properties"]
                patch = properties.get("ID_PATCH", feature.get("id"))
                parts[self._folds[int(properties["Fold"])]].append(str(patch))
            return {split: tuple(names) for split, names in parts.items()}

        found: dict[str, tuple[str, ...]] = read_split_file(root / "metadata.geojson", parse)
        return found

    def read(self, root: Path, name: str) -> Sample:
        series = _array(root / "DATA_S2" / f"S2_{name}.npy")
        if series.ndim != 4 or series.shape[1] != len(self.bands):
            raise BandError(f"S2_{name}.npy has shape {series.shape}, wanted (T, 10, H, W)")
        mask = _array(root / "ANNOTATIONS" / f"TARGET_{name}.npy")
        mask = (mask[0] if mask.ndim == 3 else mask).astype(np.int64)
        image = np.median(series, axis=0).astype(np.float32)
        same_shape(name, S2=image, TARGET=mask)
        mask[mask == self.void] = IGNORE
        valid = np.isfinite(image).all(axis=0)
        return Sample(np.where(valid, image, np.float32(0)), mask, valid)


@dataclass(frozen=True, kw_only=True)
class SpaceNet1:
    """`3band_AOI_1_RIO_img<N>.tif` (uint8 RGB) and the footprints of `<N>` as GeoJSON.

    Images sorted by name; the first 4999 train, the next 1000 validate, the last 941 test. Of
    fewer images (a trial copy) the same shares are taken.
    """

    bands: BandSet = RGB_BANDS
    _shares: ClassVar = {"train": 4999 / 6940, "valid": 1000 / 6940}
    _total: ClassVar = 6940

    def problems(self, root: Path) -> Iterator[str]:
        images, shapes = self._images(root), self._footprints(root)
        if not images:
            yield f"no 3band_AOI_1_RIO_img<N>.tif below {root}"
        lost = [name for name in images if name not in shapes]
        if lost:
            yield f"{len(lost)} of {len(images)} images below {root} lack footprints: img{lost[0]}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        names = tuple(self._images(root))
        first = round(len(names) * self._shares["train"])
        second = first + round(len(names) * self._shares["valid"])
        return {"train": names[:first], "valid": names[first:second], "test": names[second:]}

    @staticmethod
    def _images(root: Path) -> dict[str, Path]:
        images = sorted(path for path in files_below(root) if is_raster(path))
        return {
            path.stem.rsplit("img", 1)[1]: path
            for path in images
            if path.stem.startswith("3band_AOI_1_RIO_img")
        }

    @staticmethod
    def _footprints(root: Path) -> dict[str, Path]:
        footprints = sorted(path for path in files_below(root) if path.suffix == ".geojson")
        return {
            path.stem.rsplit("img", 1)[1]: path
            for path in footprints
            if "AOI_1_RIO_img" in path.stem
        }

    @staticmethod
    def _one(root: Path, pattern: str) -> Path:
        """The file of this name, at the usual depth first: a search below costs 14 000 names."""
        for glob in (pattern, f"*/{pattern}", f"*/*/{pattern}"):
            for path in root.glob(glob):
                return path
        for path in files_below(root):
            if fnmatchcase(path.name.lower(), pattern.lower()):
                return path
        raise DataError(f"{pattern} is missing below {root}")

    def read(self, root: Path, name: str) -> Sample:
        path = self._one(root, f"3band_AOI_1_RIO_img{name}.tif")
        footprints = self._one(root, f"*AOI_1_RIO_img{name}.geojson")
        pixels, grid, _ = read_image(path, bands=self.bands)
        mask = np.zeros(pixels.valid.shape, np.int64)
        try:
            shapes = [
                (feature["geometry"], 1)
                for feature in load_json(footprints)["features"]
                if feature["geometry"] and feature["geometry"].get("coordinates")
            ]
            if shapes:
                mask = rasterize(shapes, mask.shape, transform=grid.transform, dtype="uint8")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"{footprints} is no GeoJSON of footprints: {error}") from error
        # the authors mark nothing: black is beyond the edge
        valid = pixels.valid & pixels.values.any(0)
        return Sample(pixels.values, mask.astype(np.int64), valid)


def _array(path: Path) -> NDArray[Any]:
    """Load one .npy without ever unpickling."""
    return read_npy(path, label=str(path))
