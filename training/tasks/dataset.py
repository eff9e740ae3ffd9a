"""What all benchmarks share: samples, splits of samples, layouts, and the checks on labels.

A layout knows a data set in the form in which its authors distribute it. It says what is missing
before anything is read, names the splits, and reads one sample at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import DataError
from deo.training.data.float_units import DataSet, float_judge
from deo.training.data.reading import GridImage, LabelMask, read_image
from deo.training.tasks.scores import IGNORE, check_labels

_Parsed = TypeVar("_Parsed")

SPLITS = ("train", "valid", "test")


class Unit(Enum):
    """What the numbers of a sample mean. The value is the factor to Sentinel-2 digital numbers.

    Images that are rasters come as digital numbers already, see `deo.training.data.reading`.
    """

    DN = 1.0
    REFLECTANCE = 10_000.0
    BYTE = None
    """Display values, 0..255 or 0..1. No factor makes digital numbers of them, so only their own
    statistics or their own maximum can normalise them."""

    @property
    def scale(self) -> float:
        """What stored numbers are multiplied by; 1 where nothing makes digital numbers of them."""
        return 1.0 if self.value is None else float(self.value)


class Sample(NamedTuple):
    """One sample; change pairs hold two dates.

    `image`: (C, H, W), or (2, C, H, W) for a pair; float32, bands in the layout's order, numbers in
        the benchmark's unit.
    `target`: () class, (K,) multi-hot or (H, W) mask; int64, `IGNORE` where unknown.
    `valid`: (H, W), True where every band of every date holds data.
    """

    image: NDArray[np.float32]
    target: NDArray[np.int64]
    valid: NDArray[np.bool_]


class Layout(Protocol):
    """One data set on disk, as its authors distribute it."""

    @property
    def bands(self) -> BandSet:
        """Bands in the order of `Sample.image`."""

    def problems(self, root: Path) -> Iterator[str]:
        """What is missing or wrong below `root`, one sentence each; none if it is complete."""

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        """Names of the samples of each split; the only key is `all` if the authors define none."""

    def read(self, root: Path, name: str) -> Sample:
        """One sample. The caller checks its labels."""


class BandMoments(NamedTuple):
    """Mean and standard deviation of each band."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class PublishesMoments(Protocol):
    """A layout whose authors may publish statistics of the bands."""

    def statistics(self, root: Path) -> BandMoments | None:
        """In the layout's order and in stored numbers; None where this copy has none."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """An ordered part of a benchmark, read on demand in the bands asked for.

    The label of a pixel without data is `IGNORE`, even if the mask has a class there.
    """

    root: Path
    layout: Layout
    names: tuple[str, ...]
    bands: BandSet
    classes: int

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        sample = self.layout.read(self.root, name)
        check_labels(sample.target, classes=_label_count(sample, self.classes), where=name)
        positions = list(self.bands.positions_in(self.layout.bands.names))
        target = sample.target
        if target.ndim == 2 and not sample.valid.all():
            target = np.where(sample.valid, target, IGNORE)
        return sample._replace(image=sample.image[..., positions, :, :], target=target)

    def subset(self, indices: Sequence[int]) -> "Split":
        """The same data, only the samples at these positions."""
        return replace(self, names=tuple(self.names[index] for index in indices))

    def targets(self) -> NDArray[np.int64]:
        """All labels, stacked: (N,) or (N, K)."""
        return np.stack([sample.target for sample in self])


def _label_count(sample: Sample, classes: int) -> int:
    """How many values the entries of a label may take; multi-hot ones are 0 or 1."""
    if sample.target.ndim != 1:
        return classes
    if len(sample.target) != classes:
        raise DataError(f"multi-hot label has {len(sample.target)} entries, wanted {classes}")
    return 2


@dataclass(frozen=True, kw_only=True)
class Rasters:
    """What layouts of rasters in digital numbers share.

    Args:
        scale, offset: as in `open_scene`, for every image; None: what each file's evidence says.
    """

    scale: float | None = None
    offset: float | None = None


def read_chip(
    layout: DataSet,
    root: Path,
    path: Path,
    *,
    bands: BandSet | None = None,
    declared: bool = True,
) -> GridImage:
    """One image of a data set of rasters; the unit of floating-point numbers is judged from many.

    Args:
        bands, declared: as in `read_image`; None: the layout's bands.

    Raises:
        DeoError: as in `read_image`.
    """
    said = layout if isinstance(layout, Rasters) else Rasters()
    return read_image(
        path,
        bands=bands or layout.bands,
        declared=declared,
        scale=said.scale,
        offset=said.offset,
        judge_floats=float_judge(layout, root),
    )


def absent(root: Path, paths: Sequence[str], *, what: str, most: int = 3) -> Iterator[str]:
    """One sentence when some of `paths` do not exist below `root`."""
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        shown = ", ".join(missing[:most]) + (", ..." if len(missing) > most else "")
        yield f"{len(missing)} of {len(paths)} {what} missing below {root}: {shown}"


def read_split_file(path: Path, parse: Callable[[Path], _Parsed]) -> _Parsed:
    """What `parse` makes of a file that defines a split.

    Raises:
        DataError: the file is missing or cannot be parsed.
    """
    if not path.is_file():
        raise DataError(f"split file {path} is missing; it comes with the data set's download")
    try:
        return parse(path)
    except Exception as error:  # the parsers expect sound files, so damage may raise anything
        raise DataError(f"split file {path} cannot be read: {error}") from error


def same_shape(name: str, **arrays: NDArray[Any]) -> None:
    """Check that the rasters of one sample have the same size.

    Raises:
        DataError: they have not; the message names the sample and every size.
    """
    shapes = {key: array.shape[-2:] for key, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key} {h} x {w}" for key, (h, w) in shapes.items())
        raise DataError(f"{name}: mismatched pair, sizes differ (rows x columns): {listed}")


def relabel(labels: LabelMask, meaning: Mapping[int, int], *, where: str) -> NDArray[np.int64]:
    """Class numbers (H, W) of the stored values of a mask; `IGNORE` where the mask is not known.

    Args:
        meaning: stored value -> class number or `IGNORE`.
        where: what messages call the mask.

    Raises:
        DataError: the mask holds a value without a meaning.
    """
    stored = labels.values
    unset = IGNORE - 1  # no label: marks values that nothing below gives a meaning
    target = np.full(stored.shape, unset, np.int64)
    for value, label in meaning.items():
        target[stored == value] = label
    if labels.nodata is not None and labels.nodata not in meaning:
        target[stored == labels.nodata] = IGNORE
    target[~labels.known] = IGNORE
    unknown = np.unique(stored[target == unset])
    if unknown.size:
        shown = ", ".join(str(value) for value in unknown[:5])
        wanted = ", ".join(str(value) for value in meaning)
        raise DataError(f"{where}: label {shown} out of range; wanted only {wanted}")
    return target
