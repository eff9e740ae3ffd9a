"""PASTIS: crop types from Sentinel-2 time series."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import BandError
from deo.files.documents import load_json
from deo.training.data.arrays import read_npy
from deo.training.tasks.dataset import SPLITS, Sample, absent, read_split_file, same_shape
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Benchmark, Task

PASTIS_BANDS = BandSet(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))


@dataclass(frozen=True, kw_only=True)
class PASTIS:
    """`DATA_S2/S2_<id>.npy` (T, 10, 128, 128) and `ANNOTATIONS/TARGET_<id>.npy` (band 0).

    Folds 1 to 3 train, 4 validates, 5 tests; class 19 is void and ignored. The median over time
    stands for the series.
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
        def parse(path: Path) -> Mapping[str, tuple[str, ...]]:
            parts: dict[str, list[str]] = {split: [] for split in SPLITS}
            for feature in load_json(path)["features"]:
                properties = feature["properties"]
                patch = properties.get("ID_PATCH", feature.get("id"))
                parts[self._folds[int(properties["Fold"])]].append(str(patch))
            return {split: tuple(names) for split, names in parts.items()}

        return read_split_file(root / "metadata.geojson", parse)

    def read(self, root: Path, name: str) -> Sample:
        series = _array(root / "DATA_S2" / f"S2_{name}.npy")
        if series.ndim != 4 or series.shape[1] != len(self.bands):
            raise BandError(f"S2_{name}.npy has shape {series.shape}, wanted (T, 10, H, W)")
        mask = _array(root / "ANNOTATIONS" / f"TARGET_{name}.npy")
        mask = (mask[0] if mask.ndim == 3 else mask).astype(np.int64)
        # clouds cover single dates, and a median does not follow them as a mean would
        image = np.median(series, axis=0).astype(np.float32)
        same_shape(name, S2=image, TARGET=mask)
        mask[mask == self.void] = IGNORE
        valid = np.isfinite(image).all(axis=0)
        return Sample(np.where(valid, image, np.float32(0)), mask, valid)


def _array(path: Path) -> NDArray[Any]:
    return read_npy(path, label=str(path))


PUBLISHED = (
    Benchmark(
        name="pastis",
        task=Task.SEGMENT,
        classes=19,
        layout=PASTIS(),
        metric="macro_iou",
        paper=28.96,
        shapes="T x 10 x 128 x 128 int16, digital numbers; median over time",
    ),
)
