"""GEO-Bench v1 as published: one HDF5 file per sample, some labels in pickles.

Keys are names of bands, sometimes with a date (`02 - Blue_2018-05-26`). The label is the dataset
`label`, or an entry of the pickled attribute `pickle` (see `unpickling` beside this module).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import PRODUCT_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, DataError, DeoError, require
from deo.files.documents import load_json
from deo.sensors.registry import canonical_name
from deo.training.data.arrays import own_dataset
from deo.training.tasks.benchmarks.eurosat import EUROSAT_CLASSES
from deo.training.tasks.benchmarks.unpickling import unpickled
from deo.training.tasks.dataset import (
    SPLITS,
    BandMoments,
    Sample,
    Unit,
    absent,
    read_split_file,
    same_shape,
)
from deo.training.tasks.task import Benchmark, Task

_METRICS = {Task.CLASSIFY: "accuracy", Task.MULTILABEL: "micro_f1", Task.SEGMENT: "macro_iou"}
_NO_CIRRUS = BandSet(name for name in PRODUCT_BANDS if name != "B10")
_SHIFT = {"B8A": "B09", "B09": "B10", "B10": "B11", "B11": "B12", "B12": "B8A"}


class BandKeys(Enum):
    """How to interpret the band keys of m-eurosat.

    EuroSAT stores B8A last, but m-eurosat names its planes in product order. Therefore "08A" holds
    B09, "09" B10, "10" B11, "11" B12 and "12" B8A.
    """

    AS_PUBLISHED = "as_published"
    CORRECTED = "corrected"


@dataclass(frozen=True, kw_only=True)
class GeoBench:
    """One data set of GEO-Bench v1.

    Args:
        name: of its folder, e.g. `m-eurosat`.
        bands: which are read, in this order.
        classes: number of classes.
        multilabel: whether labels are multi-hot.
        partition: `<partition>_partition.json` defines the splits; that of `0.10x_train` holds a
            tenth of the training samples.
        keys: matters for m-eurosat only, see `BandKeys`.
    """

    name: str
    bands: BandSet
    classes: int
    multilabel: bool = False
    partition: str = "default"
    keys: BandKeys = BandKeys.CORRECTED

    def folder(self, root: Path) -> Path:
        """The folder of HDF5 files: `root` itself, or where an unpacked download puts it."""
        for kind in ("", "classification_v1.0", "segmentation_v1.0"):
            if (root / kind / self.name).is_dir():
                return root / kind / self.name
        return root

    def problems(self, root: Path) -> Iterator[str]:
        folder = self.folder(root)
        if not (folder / f"{self.partition}_partition.json").is_file():
            others = sorted(path.name for path in folder.glob("*_partition.json"))
            choice = f" (there are {', '.join(others)})" if others else ""
            yield f"split file {self.partition}_partition.json is missing in {folder}{choice}"
            return
        names = [f"{name}.hdf5" for part in self.splits(root).values() for name in part]
        yield from absent(folder, names, what="samples")

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        def parse(path: Path) -> Mapping[str, tuple[str, ...]]:
            parts = load_json(path)
            return {split: tuple(parts[split]) for split in SPLITS}

        return read_split_file(self.folder(root) / f"{self.partition}_partition.json", parse)

    def statistics(self, root: Path) -> BandMoments | None:
        """From `band_stats.json`; None without that file, or where it lacks a band."""
        path = self.folder(root) / "band_stats.json"
        if not path.is_file():
            return None
        try:
            stats = load_json(path)
            named = {name: stats[key] for key in stats if (name := self._band(key)) is not None}
            if not set(self.bands) <= set(named):
                return None
            return BandMoments(
                tuple(float(named[band]["mean"]) for band in self.bands),
                tuple(float(named[band]["std"]) for band in self.bands),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} holds no statistics of bands: {error}") from error

    def _band(self, key: str) -> str | None:
        name = band_of_key(key)
        if name is not None and self.name == "m-eurosat" and self.keys is BandKeys.CORRECTED:
            return _SHIFT.get(name, name)
        return name

    def read(self, root: Path, name: str) -> Sample:
        h5py = require("h5py", extra="eval")
        folder = self.folder(root)
        path = folder / f"{name}.hdf5"
        try:
            with h5py.File(path, "r") as file:
                image = self._image(file, path)
                label = _stored_label(file, path)
        except DeoError:
            raise
        except Exception as error:  # HDF5 may raise anything on a damaged file
            raise DataError(f"{path} cannot be read: {error}") from error
        if label is None:
            label = self._mapped_label(folder, name)
        valid = np.asarray(np.isfinite(image).all(axis=0))
        target = self._target(label, path, image)
        return Sample(np.where(valid, image, np.float32(0)), target, valid)

    def _image(self, file: Any, path: Path) -> NDArray[np.float32]:
        """(C, H, W); of a series, the first date."""
        keys: dict[str, str] = {}
        for key in sorted(file):
            band = self._band(key)
            if band is not None and not key.startswith("label"):
                keys.setdefault(band, key)
        missing = [band for band in self.bands if band not in keys]
        if missing:
            raise BandError(
                f"{path.name} lacks {', '.join(missing)}; its keys are {', '.join(sorted(file))}"
            )
        planes = [
            np.asarray(own_dataset(file, keys[band]), np.float32).squeeze() for band in self.bands
        ]
        same_shape(path.name, **dict(zip(self.bands, planes, strict=True)))
        return np.stack(planes)

    def _target(self, label: Any, path: Path, image: NDArray[np.float32]) -> NDArray[np.int64]:
        target = np.asarray(label).squeeze()
        if not np.issubdtype(target.dtype, np.number) and target.dtype != bool:
            raise DataError(f"{path.name}: label {label!r} is no number")
        target = target.astype(np.int64)
        if self.multilabel and target.shape != (self.classes,):
            raise DataError(
                f"{path.name}: label has shape {target.shape}, wanted {self.classes} zeros and ones"
            )
        if target.ndim == 2:
            same_shape(path.name, image=image, label=target)
        return target

    def _mapped_label(self, folder: Path, name: str) -> Any:
        """The label from `label_map.json`: class -> sample names, or sample name -> label."""
        path = folder / "label_map.json"
        if not path.is_file():
            raise DataError(f"{name}.hdf5 holds no label, and there is no {path}")
        try:
            mapped = load_json(path)
            if name in mapped:
                return mapped[name]
            classes = [int(key) for key, members in mapped.items() if name in members]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path} maps no labels to samples: {error}") from error
        if not classes:
            raise DataError(f"{path} names no label of {name}")
        if not self.multilabel:
            return classes[0]
        return [int(number in classes) for number in range(self.classes)]


def band_of_key(key: str) -> str | None:
    """ESA's name of the band under an HDF5 key; None for radar, clouds and labels.

    `08A - Vegetation Red Edge_2018-05-26` is B8A; `02 - VH.Imaginary` is radar and not B02.
    """
    plain = re.sub(r"_\d{4}-\d{2}-\d{2}.*$", "", key).strip()
    number, _, words = plain.partition(" - ")
    if re.match(r"V[HV]\b", words):
        return None
    return canonical_name(number)


def _stored_label(file: Any, path: Path) -> Any:
    """The label of an open HDF5 file; None if it holds none."""
    for key in sorted(file):
        if key.startswith("label"):
            return np.asarray(own_dataset(file, key))
    if "label" in file.attrs:
        label = file.attrs["label"]
        return unpickled(label, path) if isinstance(label, (bytes, str, np.void)) else label
    if "pickle" in file.attrs:
        content = unpickled(file.attrs["pickle"], path)
        return content.get("label") if isinstance(content, dict) else None
    return None


def _row(
    name: str,
    bands: BandSet,
    classes: int | tuple[str, ...],
    *,
    task: Task = Task.SEGMENT,
    unit: Unit = Unit.DN,
    paper: float,
    paper_tenth: float | None = None,
    shapes: str,
) -> Benchmark:
    count = classes if isinstance(classes, int) else len(classes)
    layout = GeoBench(name=name, bands=bands, classes=count, multilabel=task is Task.MULTILABEL)
    return Benchmark(
        name=name,
        task=task,
        classes=classes,
        layout=layout,
        unit=unit,
        metric=_METRICS[task],
        paper=paper,
        paper_tenth=paper_tenth,
        shapes=shapes,
    )


# fmt: off
PUBLISHED = (
    _row("m-eurosat", PRODUCT_BANDS, EUROSAT_CLASSES, task=Task.CLASSIFY,
         paper=97.0, shapes="13 x 64 x 64, digital numbers"),
    _row("m-bigearthnet", _NO_CIRRUS, 43, task=Task.MULTILABEL,
         paper=58.43, paper_tenth=51.89, shapes="12 x 120 x 120, digital numbers"),
    _row("m-so2sat", BandSet(name for name in _NO_CIRRUS if name not in ("B01", "B09")), 17,
         task=Task.CLASSIFY, unit=Unit.REFLECTANCE,
         paper=52.23, shapes="10 x 32 x 32, reflectance (radar is not read)"),
    _row("m-nz-cattle", RGB_BANDS, ("background", "cattle"), unit=Unit.BYTE,
         paper=80.21, shapes="3 x 500 x 500 uint8 RGB"),
    _row("m-pv4ger-seg", RGB_BANDS, ("background", "solar panel"), unit=Unit.BYTE,
         paper=94.41, shapes="3 x 320 x 320 uint8 RGB"),
    _row("m-chesapeake", BandSet(("B04", "B03", "B02", "B08")), 7, unit=Unit.BYTE,
         paper=72.47, shapes="red, green, blue, near infrared x 256 x 256, 0..1"),
    _row("m-SA-crop-type", _NO_CIRRUS, 10, unit=Unit.BYTE,
         paper=37.96, paper_tenth=28.98, shapes="12 x 256 x 256, 8-bit-like"),
    _row("m-cashew-plant", _NO_CIRRUS, 7,
         paper=68.56, shapes="12 x 256 x 256, digital numbers"),
)
# fmt: on
