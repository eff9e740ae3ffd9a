"""Sentinel-2 chips with thirteen bands: EuroSAT-MS and Sen1Floods11 in their own layouts."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from deo.bands import BandSet
from deo.errors import DataError, DeoError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.listing import files_below, files_in, is_raster, raster_named
from deo.training.data.reading import float_judge, read_image, read_labels
from deo.training.tasks.dataset import IGNORE, SPLITS, Sample, absent, read_split_file

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
        tiles = [next(iter(files_in(root / name)), None) for name in EUROSAT_CLASSES]
        for name, tile in zip(EUROSAT_CLASSES, tiles, strict=True):
            if tile is None and (root / name).is_dir():
                yield f"class folder {name} below {root} holds no .tif"
        yield from self._wrong_order(root, [tile for tile in tiles if tile is not None])

    def _wrong_order(self, root: Path, tiles: list[Path]) -> Iterator[str]:
        """B10 sees cirrus: it must be the dark band, wherever no description says so."""
        try:
            images = [
                read_image(tile, bands=self.bands, judge_floats=float_judge(self, root))
                for tile in tiles
            ]
        except DeoError as error:
            yield str(error)
            return
        medians = [
            np.median(pixels.values[:, pixels.valid], axis=1)
            for pixels, *_ in images
            if pixels.valid.any()
        ]
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
                 for path in sorted(files_in(root / name), key=_natural)]  # fmt: skip
        return {"all": tuple(tiles)}

    @staticmethod
    def _listed(path: Path) -> tuple[str, ...]:
        stems = [Path(line.strip()).stem for line in path.read_text().splitlines() if line.strip()]
        return tuple(f"{stem.rsplit('_', 1)[0]}/{stem}" for stem in stems)

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        folder, _, stem = name.partition("/")
        return (raster_named(root / folder, stem) or root / f"{name}.tif",)

    def read(self, root: Path, name: str) -> Sample:
        (path,) = self.images(root, name)
        pixels, *_ = read_image(path, bands=self.bands, judge_floats=float_judge(self, root))
        folder = name.split("/")[0]
        if folder not in EUROSAT_CLASSES:
            raise DataError(f"{name}: {folder} is not one of {', '.join(EUROSAT_CLASSES)}")
        label = np.asarray(EUROSAT_CLASSES.index(folder), np.int64)
        return Sample(pixels.values, label, pixels.valid)


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
        name = f"flood_{split}_data.csv"
        return next(iter(sorted(path for path in files_below(root) if path.name == name)), None)

    @staticmethod
    def _listed(path: Path) -> tuple[str, ...]:
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        return tuple(row[0].strip().rsplit("_", 1)[0] for row in rows)

    @staticmethod
    def _files(root: Path, kind: str) -> dict[str, Path]:
        rasters = sorted(path for path in files_below(root) if is_raster(path))
        return {
            path.name.rsplit("_", 1)[0]: path for path in rasters if path.stem.endswith(f"_{kind}")
        }

    def _chips(self, root: Path) -> dict[str, Path]:
        return self._files(root, "S2Hand")

    def _path(self, root: Path, name: str, kind: str) -> Path:
        for folder in (kind, f"data/flood_events/HandLabeled/{kind}", "."):
            path = root / folder / f"{name}_{kind}.tif"
            if path.is_file():
                return path
        return self._files(root, kind).get(name, root / kind / f"{name}_{kind}.tif")

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        return (self._path(root, name, "S2Hand"),)

    def read(self, root: Path, name: str) -> Sample:
        (path,) = self.images(root, name)
        image = read_image(path, bands=self.bands, judge_floats=float_judge(self, root))
        labels = read_labels(self._path(root, name, "LabelHand"), onto=image)
        target = np.where(labels.known, labels.values, IGNORE).astype(np.int64)
        values, valid = image.pixels
        return Sample(values, target, valid & values.any(0))  # the authors mark nothing: all 0


def _natural(path: Path) -> tuple[str, int]:
    stem, _, number = path.stem.rpartition("_")
    return stem, int(number) if number.isdigit() else 0
