"""EuroSAT-MS: ten land-cover classes, one folder each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from deo.bands import PRODUCT_BANDS, BandSet
from deo.errors import DataError, DeoError
from deo.training.data.listing import files_in, raster_named
from deo.training.tasks.dataset import SPLITS, Rasters, Sample, absent, read_chip, read_split_file
from deo.training.tasks.task import Benchmark, Task

EUROSAT_BANDS = BandSet([name for name in PRODUCT_BANDS if name != "B8A"] + ["B8A"])
"""EuroSAT stores B8A last."""

EUROSAT_CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
_DARK = 100.0  # over land, cirrus has some ten digital numbers and every other band hundreds


@dataclass(frozen=True, kw_only=True)
class EuroSAT(Rasters):
    """`<Class>/<Class>_<n>.tif`, 13 x 64 x 64 uint16, B8A last.

    The authors define no split. If the folder holds `eurosat-{train,val,test}.txt` of torchgeo
    (one tile name, `Class_1.jpg`, per line), they define it; all three have to be there.
    """

    bands: BandSet = EUROSAT_BANDS
    _files: ClassVar = {
        "train": "eurosat-train.txt",
        "valid": "eurosat-val.txt",
        "test": "eurosat-test.txt",
    }

    def problems(self, root: Path) -> Iterator[str]:
        yield from absent(root, EUROSAT_CLASSES, what="class folders")
        present = [name for name in self._files.values() if (root / name).is_file()]
        if present and len(present) < len(self._files):
            missing = sorted(set(self._files.values()) - set(present))
            yield f"split file {', '.join(missing)} is missing below {root} beside {present[0]}"
        first_tiles = {name: next(iter(files_in(root / name)), None) for name in EUROSAT_CLASSES}
        for name, tile in first_tiles.items():
            if tile is None and (root / name).is_dir():
                yield f"class folder {name} below {root} holds no .tif"
        yield from self._wrong_order(root, [tile for tile in first_tiles.values() if tile])

    def _wrong_order(self, root: Path, tiles: list[Path]) -> Iterator[str]:
        """Copies in product order circulate; B10, which sees only cirrus, gives them away."""
        try:
            images = [read_chip(self, root, tile).pixels for tile in tiles]
        except DeoError as error:
            yield str(error)
            return
        medians = [
            np.median(pixels.values[:, pixels.valid], axis=1)
            for pixels in images
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
                split: read_split_file(root / self._files[split], _listed_tiles) for split in SPLITS
            }
        tiles = [f"{name}/{path.stem}" for name in EUROSAT_CLASSES
                 for path in sorted(files_in(root / name), key=_number_in_name)]  # fmt: skip
        return {"all": tuple(tiles)}

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        folder, _, stem = name.partition("/")
        return (raster_named(root / folder, stem) or root / f"{name}.tif",)

    def read(self, root: Path, name: str) -> Sample:
        (path,) = self.images(root, name)
        values, valid = read_chip(self, root, path).pixels
        folder = name.split("/")[0]
        if folder not in EUROSAT_CLASSES:
            raise DataError(f"{name}: {folder} is not one of {', '.join(EUROSAT_CLASSES)}")
        return Sample(values, np.asarray(EUROSAT_CLASSES.index(folder), np.int64), valid)


def _listed_tiles(path: Path) -> tuple[str, ...]:
    stems = [Path(line.strip()).stem for line in path.read_text().splitlines() if line.strip()]
    return tuple(f"{stem.rsplit('_', 1)[0]}/{stem}" for stem in stems)


def _number_in_name(path: Path) -> tuple[str, int]:
    """Sort key that puts `River_2` before `River_10`, as the authors number them."""
    stem, _, number = path.stem.rpartition("_")
    return stem, int(number) if number.isdigit() else 0


PUBLISHED = (
    Benchmark(
        name="eurosat-ms",
        task=Task.CLASSIFY,
        classes=EUROSAT_CLASSES,
        layout=EuroSAT(),
        metric="accuracy",
        shapes="13 x 64 x 64 uint16, digital numbers",
    ),
)
