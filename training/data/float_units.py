"""The unit of floating-point numbers, told by the size of many images' numbers together."""

import contextlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deo.bands import BandSet
from deo.errors import DeoError, RadiometryError
from deo.scene.units import FloatJudge
from deo.sensors.evidence import Evidence
from deo.sensors.floats import Range, check_float_evidence, common_float_evidence
from deo.training.data.reading import open_quietly

JUDGED = 64  # images of a data set that the unit of its floating-point numbers is judged by


class DataSet(Protocol):
    """A data set whose images are rasters; hashable."""

    def __hash__(self) -> int: ...

    @property
    def bands(self) -> BandSet: ...

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]: ...

    def images(self, root: Path, name: str) -> Sequence[Path]:
        """The rasters of one sample, masks aside."""


def float_judge(data_set: DataSet, root: Path) -> FloatJudge:
    """Tells the unit of floating-point images from a sample of all, and refuses odd ones out."""

    def judge(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
        common = common_unit(data_set, root)
        check_float_evidence(dtype, ranges, common)
        return common

    return judge


@lru_cache(maxsize=8)
def common_unit(data_set: DataSet, root: Path) -> Evidence:
    """The unit of a data set's floating-point images, by the size of the numbers of up to 64.

    Raises:
        RadiometryError: it cannot be told.
    """
    names = [name for part in data_set.splits(root).values() for name in part]
    step = max(1, len(names) // JUDGED)
    images = [path for name in names[::step] for path in data_set.images(root, name)]
    sizes = [
        size
        for path in images
        for size in float_sizes(path) or float_sizes(path, bands=data_set.bands)
    ]
    try:
        return judge_together(sizes)
    except RadiometryError as error:
        raise RadiometryError(f"images of {root}: {error}") from error


class FloatSize(NamedTuple):
    """Type and ranges of an image whose unit the size of its floating-point numbers tells."""

    dtype: str
    ranges: Mapping[str, Range]


def float_sizes(source: Any, **options: Any) -> list[FloatSize]:
    """Of a raster: one, or none where metadata tell its unit, or where it cannot be read."""
    sizes: list[FloatSize] = []

    def note(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
        sizes.append(FloatSize(dtype, ranges))
        return Evidence(fact="not judged yet", scale=1.0)

    with contextlib.suppress(DeoError):  # what is wrong is said when the image is read
        open_quietly(source, judge_floats=note, **options).close()
    return sizes


def judge_together(sizes: Sequence[FloatSize]) -> Evidence:
    """One unit for several images.

    Raises:
        RadiometryError: it cannot be told.
    """
    dtype = sizes[0].dtype if sizes else "float32"
    return common_float_evidence(dtype, [size.ranges for size in sizes])
