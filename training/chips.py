"""Sentinel-2 chips with thirteen bands: EuroSAT-MS and Sen1Floods11 in their own layouts."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from deo.bands import SENTINEL2, BandSet
from deo.errors import BandError, DataError
from deo.training.layouts import (
    SPLITS,
    Sample,
    absent,
    read_raster,
    read_split_file,
    same_shape,
)

PRODUCT_BANDS = BandSet(band.name for band in SENTINEL2)
EUROSAT_BANDS = BandSet([name for name in PRODUCT_BANDS if name != "B8A"] + ["B8A"])
"""EuroSAT stores B8A last."""

EUROSAT_CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
_DARK = 100.0  # cirrus over land is some ten digital numbers, every other band hundreds


@dataclass(frozen=True, kw_only=True)
class EuroSAT:
    """`<Class>/<Class>_<n>.tif`, 13 x 64 x 64 uint16, B8A last.

    The authors define no split. The files `eurosat-{train,val,test}.txt` of torchgeo, one
    tile name (`Class_1.jpg`) to a line, are used when they lie in the folder: all three or none.
    """

    bands: BandSet = EUROSAT_BANDS
    _files: ClassVar = {
        "train": "eurosat-train.txt",
        "valid": "eurosat-val.txt",
        "test": "eurosat-test.txt",
    }

    def problems(self, root: Path) -> Iterator[str]:
        yield from absent(root, EUROSAT_CLASSES, what="class folders")
        here = [name for name in self._files.values() if (root / name).is_file()]
        if here and len(here) < len(self._files):
            missing = sorted(set(self._files.values()) - set(here))
            yield f"split file {', '.join(missing)} is missing below {root} beside {here[0]}"
        tiles = [next(iter(sorted((root / name).glob("*.tif"))), None) for name in EUROSAT_CLASSES]
        for name, tile in zip(EUROSAT_CLASSES, tiles, strict=True):
            if tile is None and (root / name).is_dir():
                yield f"class folder {name} below {root} holds no .tif"
        yield from self._wrong_order([tile for tile in tiles if tile is not None])

    def _wrong_order(self, tiles: list[Path]) -> Iterator[str]:
        """B10 sees cirrus: it must be the dark band, wherever no description says so."""
        try:
            medians = [np.median(read_raster(tile, bands=self.bands), (1, 2)) for tile in tiles]
        except (BandError, DataError) as error:
            yield str(error)
            return
        if not medians:
            return
        level = np.median(medians, axis=0)
        cirrus, darkest = self.bands.names.index("B10"), int(level.argmin())
        if level[darkest] < _DARK and level[cirrus] > 5 * _DARK:
            yield (
                f"wrong band order: B10 (cirrus) is expected at position {cirrus + 1} and is the "
                f"darkest band, but position {darkest + 1} is; EuroSAT-MS stores {self.bands}"
            )

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        if (root / self._files["train"]).is_file():
            return {
                split: read_split_file(root / self._files[split], self._listed) for split in SPLITS
            }
        tiles = [f"{name}/{path.stem}" for name in EUROSAT_CLASSES
                 for path in sorted((root / name).glob("*.tif"), key=_natural)]  # fmt: skip
        return {"all": tuple(tiles)}

    @staticmethod
    def _listed(path: Path) -> tuple[str, ...]:
        stems = [Path(line.strip()).stem for line in path.read_text().splitlines() if line.strip()]
        return tuple(f"{stem.rsplit('_', 1)[0]}/{stem}" for stem in stems)

    def read(self, root: Path, name: str) -> Sample:
        image = read_raster(root / f"{name}.tif", bands=self.bands).astype(np.float32)
        folder = name.split("/")[0]
        if folder not in EUROSAT_CLASSES:
            raise DataError(f"{name}: {folder} is not one of {', '.join(EUROSAT_CLASSES)}")
        label = np.asarray(EUROSAT_CLASSES.index(folder), np.int64)
        return Sample(image, label, np.ones(image.shape[-2:], bool))


@dataclass(frozen=True, kw_only=True)
class Sen1Floods11:
    """`S2Hand/<id>_S2Hand.tif` (13 bands) and `LabelHand/<id>_LabelHand.tif` (-1, 0, 1).

    Splits are `flood_{train,valid,test}_data.csv`, each line a Sentinel-1 or -2 file and a
    label file, anywhere below the root. A folder that holds no split file but chips is one
    unsplit part, so that single chips can be tried.
    """

    bands: BandSet = PRODUCT_BANDS

    def problems(self, root: Path) -> Iterator[str]:
        found = [split for split in SPLITS if self._csv(root, split) is not None]
        if not found and not self._chips(root):
            yield f"no split file flood_<split>_data.csv and no *_S2Hand.tif below {root}"
        if found and len(found) < len(SPLITS):
            missing = [f"flood_{split}_data.csv" for split in SPLITS if split not in found]
            yield f"split file {', '.join(missing)} is missing below {root}"
            return
        names = sorted({name for part in self.splits(root).values() for name in part})
        for kind in ("S2Hand", "LabelHand"):
            there = self._files(root, kind)
            lost = [f"{name}_{kind}.tif" for name in names if name not in there]
            if lost:
                yield f"{len(lost)} of {len(names)} {kind} rasters missing below {root}: {lost[0]}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        files = {split: self._csv(root, split) for split in SPLITS}
        if not any(files.values()):
            return {"all": tuple(sorted(self._chips(root)))}
        return {
            split: read_split_file(path or root / f"flood_{split}_data.csv", self._listed)
            for split, path in files.items()
        }

    @staticmethod
    def _csv(root: Path, split: str) -> Path | None:
        return next(iter(sorted(root.rglob(f"flood_{split}_data.csv"))), None)

    @staticmethod
    def _listed(path: Path) -> tuple[str, ...]:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        return tuple(row[0].strip().rsplit("_", 1)[0] for row in rows)

    @staticmethod
    def _files(root: Path, kind: str) -> dict[str, Path]:
        return {path.name.rsplit("_", 1)[0]: path for path in sorted(root.rglob(f"*_{kind}.tif"))}

    def _chips(self, root: Path) -> dict[str, Path]:
        return self._files(root, "S2Hand")

    def _path(self, root: Path, name: str, kind: str) -> Path:
        for folder in (kind, f"data/flood_events/HandLabeled/{kind}", "."):
            path = root / folder / f"{name}_{kind}.tif"
            if path.is_file():
                return path
        return self._files(root, kind).get(name, root / kind / f"{name}_{kind}.tif")

    def read(self, root: Path, name: str) -> Sample:
        image = read_raster(self._path(root, name, "S2Hand"), bands=self.bands)
        label = read_raster(self._path(root, name, "LabelHand"))[0]
        same_shape(name, S2Hand=image, LabelHand=label)
        return Sample(image.astype(np.float32), label.astype(np.int64), (image != 0).any(0))


def _natural(path: Path) -> tuple[str, int]:
    stem, _, number = path.stem.rpartition("_")
    return stem, int(number) if number.isdigit() else 0
