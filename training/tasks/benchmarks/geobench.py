"""GEO-Bench v1 as published: one HDF5 file per sample, labels partly in pickles.

Keys are band names, sometimes with a date (`02 - Blue_2018-05-26`). The label is a dataset
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

from deo.bands import BandSet
from deo.errors import BandError, DataError, DeoError, require
from deo.files.documents import load_json
from deo.sensors.registry import canonical_name
from deo.training.data.arrays import own_dataset
from deo.training.tasks.benchmarks.unpickling import unpickled
from deo.training.tasks.dataset import SPLITS, Sample, absent, read_split_file, same_shape

_SHIFT = {"B8A": "B09", "B09": "B10", "B10": "B11", "B11": "B12", "B12": "B8A"}


class BandKeys(Enum):
    """How the band keys of m-eurosat are believed.

    EuroSAT stores B8A last; m-eurosat named its planes in product order, so "08A" holds B09,
    "09" B10, "10" B11, "11" B12 and "12" B8A.
    """

    AS_PUBLISHED = "as_published"
    CORRECTED = "corrected"


@dataclass(frozen=True, kw_only=True)
class GeoBench:
    """One data set of GEO-Bench v1.

    Args:
        name: folder name, e.g. `m-eurosat`.
        bands: bands read, in this order.
        classes: number of classes.
        multilabel: labels are multi-hot.
        partition: `<partition>_partition.json` defines the splits; `0.10x_train` trains on a
            tenth.
        keys: see `BandKeys`; only m-eurosat's names are wrong.
    """

    name: str
    bands: BandSet
    classes: int
    multilabel: bool = False
    partition: str = "default"
    keys: BandKeys = BandKeys.CORRECTED

    def folder(self, root: Path) -> Path:
        """The folder of HDF5 files: `root` itself or below it, as downloads are unpacked."""
        for kind in ("", "classification_v1.0", "segmentation_v1.0"):
            if (root / kind / self.name).is_dir():
                return root / kind / self.name
        return root

    def problems(self, root: Path) -> Iterator[str]:
        folder = self.folder(root)
        if not (folder / f"{self.partition}_partition.json").is_file():
            there = sorted(path.name for path in folder.glob("*_partition.json"))
            found = f" (there are {', '.join(there)})" if there else ""
            yield f"split file {self.partition}_partition.json is missing in {folder}{found}"
            return
        names = [f"{name}.hdf5" for part in self.splits(root).values() for name in part]
        yield from absent(folder, names, what="samples")

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        def parse(path: Path) -> dict[str, tuple[str, ...]]:
            parts = load_json(path)
            return {split: tuple(parts[split]) for split in SPLITS}

        path = self.folder(root) / f"{self.partition}_partition.json"
        found: dict[str, tuple[str, ...]] = read_split_file(path, parse)
        return found

    def statistics(self, root: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation per band from `band_stats.json`, in stored units."""
        path = self.folder(root) / "band_stats.json"
        if not path.is_file():
            return None
        try:
            stats = load_json(path)
            named = {name: stats[key] for key in stats if (name := self._band(key)) is not None}
            if not set(self.bands) <= set(named):
                return None
            return (
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
        except Exception as error:  # a damaged file may raise anything in HDF5
            raise DataError(f"{path} cannot be read: {error}") from error
        if label is None:
            label = _mapped_label(folder, name, self)
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


def band_of_key(key: str) -> str | None:
    """ESA name of an HDF5 key, or None for radar, clouds and labels.

    `08A - Vegetation Red Edge_2018-05-26` is B8A; `02 - VH.Imaginary` is radar, no band 2.
    """
    plain = re.sub(r"_\d{4}-\d{2}-\d{2}.*$", "", key).strip()
    number, _, words = plain.partition(" - ")
    if re.match(r"V[HV]\b", words):
        return None
    return canonical_name(number)


def _stored_label(file: Any, path: Path) -> Any:
    for key in sorted(file):
        if key.startswith("label"):
            return np.asarray(own_dataset(file, key))
    if "label" in file.attrs:
        label = file.attrs["label"]
        return unpickled(label, path) if isinstance(label, (bytes, str, np.void)) else label
    if "pickle" in file.attrs:
        found = unpickled(file.attrs["pickle"], path)
        return found.get("label") if isinstance(found, dict) else None
    return None


def _mapped_label(folder: Path, name: str, layout: GeoBench) -> Any:
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
    if not layout.multilabel:
        return classes[0]
    return [int(number in classes) for number in range(layout.classes)]
