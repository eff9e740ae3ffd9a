"""Data of one's own: a folder per class, images and masks, or two dates and masks.

`classify`: `<class>/*.tif`. `segment`: `images/*.tif` and `masks/*.tif` of the same names.
`change`: `A/*.tif`, `B/*.tif` and `masks/*.tif`. Each either directly below the root or below
`train`, `valid` and `test`. Bands come from the files' descriptions, or are declared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deo.bands import BandSet, canonical_name
from deo.errors import BandError, ConfigError, DataError
from deo.raster.doors import Door, open_raster
from deo.training.layouts import IGNORE, SPLITS, Sample, Unit, read_raster, relabel, same_shape
from deo.training.tasks import Benchmark, Task

FOLDER = "folder"
_IMAGES = {Task.CLASSIFY: "", Task.SEGMENT: "images", Task.CHANGE: "A"}
_METRICS = {Task.CLASSIFY: "accuracy", Task.SEGMENT: "macro_iou", Task.CHANGE: "f1"}


@dataclass(frozen=True, kw_only=True)
class Folder:
    """One of the three layouts.

    Args:
        task: which.
        bands: of every image, in stored order.
        classes: class folders, or the names of mask values 0, 1, ...; a mask value of 255, or
            the file's own nodata value, is ignored.
    """

    task: Task
    bands: BandSet
    classes: tuple[str, ...]

    def problems(self, root: Path) -> Iterator[str]:
        parts = self.splits(root)
        for split, names in parts.items():
            if not names:
                yield f"no .tif for the split {split} below {root}"
        for name in (name for names in parts.values() for name in names):
            for path in self._paths(root, name):
                if not path.is_file():
                    yield f"{path} is missing beside {name}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        if not (root / "train").is_dir():
            return {"all": self._names(root, "")}
        there = [split for split in SPLITS if (root / split).is_dir()]
        return {split: self._names(root, split) for split in there}

    def _names(self, root: Path, split: str) -> tuple[str, ...]:
        base = root / split
        folders = self.classes if self.task is Task.CLASSIFY else (_IMAGES[self.task],)
        found = [path for folder in folders for path in sorted((base / folder).glob("*.tif"))]
        return tuple(str(path.relative_to(root)) for path in found)

    def _paths(self, root: Path, name: str) -> list[Path]:
        path = root / name
        if self.task is Task.CLASSIFY:
            return [path]
        mask = path.parent.parent / "masks" / path.name
        if self.task is Task.SEGMENT:
            return [path, mask]
        return [path, path.parent.parent / "B" / path.name, mask]

    def read(self, root: Path, name: str) -> Sample:
        paths = self._paths(root, name)
        if self.task is Task.CLASSIFY:
            image = read_raster(paths[0], bands=self.bands).astype(np.float32)
            label = np.asarray(self.classes.index(paths[0].parent.name), np.int64)
            return Sample(image, label, (image != 0).any(0))
        *dates, mask_path = paths
        images = [read_raster(path, bands=self.bands).astype(np.float32) for path in dates]
        mask = read_raster(mask_path)[0]
        named = {f"date{number}": image for number, image in enumerate(images, 1)}
        same_shape(name, mask=mask, **named)
        meaning = {label: label for label in range(len(self.classes))} | {255: IGNORE, -1: IGNORE}
        target = relabel(mask, meaning, where=str(mask_path.relative_to(root)))
        valid = np.logical_and.reduce([(image != 0).any(0) for image in images])
        image = images[0] if len(images) == 1 else np.stack(images)
        return Sample(image, np.where(valid, target, IGNORE), valid)


def folder_benchmark(
    task: Task,
    root: Path,
    *,
    bands: BandSet | None = None,
    classes: tuple[str, ...] = (),
) -> Benchmark:
    """Describe a folder of one's own data.

    Args:
        bands: the order of the stored bands; None: what the first file's descriptions say.
        classes: names of mask values; empty for class folders and for change, which name them.

    Raises:
        ConfigError: masks whose classes are not named.
        DataError: no images there.
        BandError: the bands have no names and were not declared.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    base = root / "train" if (root / "train").is_dir() else root
    if task is Task.CLASSIFY:
        folders = sorted(path.name for path in base.iterdir() if path.is_dir())
        classes = classes or tuple(name for name in folders if not name.startswith("."))
    elif task is Task.CHANGE:
        classes = classes or ("unchanged", "changed")
    if len(classes) < 2:
        raise ConfigError("name the classes of the masks in order: --classes background,water")
    search = f"{_IMAGES[task]}/*.tif" if _IMAGES[task] else "*/*.tif"
    first = next(iter(sorted(base.glob(search))), None)
    if first is None:
        raise DataError(f"no image {search} below {base}; see docs/finetuning.md for the layout")
    layout = Folder(task=task, bands=bands or _described(first), classes=classes)
    return Benchmark(
        name=FOLDER,
        task=task,
        classes=classes,
        layout=layout,
        unit=Unit.BYTE if _is_byte(first) else Unit.DN,
        metric=_METRICS[task],
    )


def _described(path: Path) -> BandSet:
    with open_raster(path, door=Door.CHIP) as source:
        named = [canonical_name(text or "") for text in source.descriptions]
    if None in named:
        raise BandError(
            f"{path} does not name its {len(named)} bands; say the order of all of them: "
            "--stored-bands B02,B03,..."
        )
    return BandSet([name for name in named if name is not None])


def _is_byte(path: Path) -> bool:
    with open_raster(path, door=Door.CHIP) as source:
        return bool(source.dtypes[0] == "uint8")
