"""Sen1Floods11: surface water in hand-labelled Sentinel-2 chips."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deo.bands import PRODUCT_BANDS, BandSet
from deo.training.data.listing import files_below, is_raster
from deo.training.data.reading import read_labels
from deo.training.tasks.dataset import SPLITS, Rasters, Sample, read_chip, read_split_file
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Benchmark, Task


@dataclass(frozen=True, kw_only=True)
class Sen1Floods11(Rasters):
    """`S2Hand/<id>_S2Hand.tif` (13 bands) and `LabelHand/<id>_LabelHand.tif` (-1, 0, 1).

    The splits are `flood_{train,valid,test}_data.csv`, anywhere below the root; each line names a
    Sentinel-1 or -2 file and a label file. A folder with chips and no split file is one unsplit
    part, so that single chips can be tried.
    """

    bands: BandSet = PRODUCT_BANDS

    def problems(self, root: Path) -> Iterator[str]:
        lists = [split for split in SPLITS if _split_file(root, split) is not None]
        if not lists and not _rasters(root, "S2Hand"):
            yield f"no split file flood_<split>_data.csv and no *_S2Hand.tif below {root}"
        if lists and len(lists) < len(SPLITS):
            missing = [f"flood_{split}_data.csv" for split in SPLITS if split not in lists]
            yield f"split file {', '.join(missing)} is missing below {root}"
            return
        names = sorted({name for part in self.splits(root).values() for name in part})
        for kind in ("S2Hand", "LabelHand"):
            stored = _rasters(root, kind)
            lost = [f"{name}_{kind}.tif" for name in names if name not in stored]
            if lost:
                yield f"{len(lost)} of {len(names)} {kind} rasters missing below {root}: {lost[0]}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        files = {split: _split_file(root, split) for split in SPLITS}
        if not any(files.values()):
            return {"all": tuple(sorted(_rasters(root, "S2Hand")))}
        return {
            split: read_split_file(path or root / f"flood_{split}_data.csv", _listed_chips)
            for split, path in files.items()
        }

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        return (_raster(root, name, "S2Hand"),)

    def read(self, root: Path, name: str) -> Sample:
        (path,) = self.images(root, name)
        image = read_chip(self, root, path)
        labels = read_labels(_raster(root, name, "LabelHand"), onto=image)
        target = np.where(labels.known, labels.values, IGNORE).astype(np.int64)
        values, valid = image.pixels
        # the chips declare no nodata value: pixels beyond the edge are 0 in every band
        return Sample(values, target, valid & values.any(0))


def _split_file(root: Path, split: str) -> Path | None:
    name = f"flood_{split}_data.csv"
    return next(iter(sorted(path for path in files_below(root) if path.name == name)), None)


def _listed_chips(path: Path) -> tuple[str, ...]:
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    return tuple(row[0].strip().rsplit("_", 1)[0] for row in rows)


def _rasters(root: Path, kind: str) -> dict[str, Path]:
    """Chip id -> its raster of this kind, wherever it lies below `root`."""
    rasters = sorted(path for path in files_below(root) if is_raster(path))
    return {path.name.rsplit("_", 1)[0]: path for path in rasters if path.stem.endswith(f"_{kind}")}


def _raster(root: Path, name: str, kind: str) -> Path:
    # the usual folders first: a search of the whole tree for every sample takes seconds
    for folder in (kind, f"data/flood_events/HandLabeled/{kind}", "."):
        path = root / folder / f"{name}_{kind}.tif"
        if path.is_file():
            return path
    return _rasters(root, kind).get(name, root / kind / f"{name}_{kind}.tif")


PUBLISHED = (
    Benchmark(
        name="sen1floods11",
        task=Task.SEGMENT,
        classes=("dry", "water"),
        layout=Sen1Floods11(),
        metric="micro_iou",
        paper=94.32,
        shapes="13 x 512 x 512 int16, digital numbers",
    ),
)
