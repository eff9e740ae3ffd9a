"""What every benchmark reader shares: a sample, a split of samples, and the checks on labels.

A layout knows one distribution as its authors published it. It says what is missing before
anything is read, names the splits, and reads one sample at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import DataError
from deo.training.data.reading import LabelMask
from deo.training.tasks.scores import IGNORE as IGNORE
from deo.training.tasks.scores import check_labels

SPLITS = ("train", "valid", "test")


class Unit(Enum):
    """What the numbers of a sample mean; the value multiplies them to Sentinel-2 digital numbers.

    Images that are rasters come as digital numbers already, see `deo.training.data.reading`.
    """

    DN = 1.0
    REFLECTANCE = 10_000.0
    BYTE = None
    """Eight-bit-like or 0..1 display values: only statistics or their own maximum scale them."""


class Sample(NamedTuple):
    """One sample; change pairs hold two dates.

    `image`: (C, H, W), or (2, C, H, W) for a pair, float32, bands in the layout's order, in the
        benchmark's unit.
    `target`: () class, (K,) multi-hot, or (H, W) mask, int64, `IGNORE` where unknown.
    `valid`: (H, W), True where every band of every date holds data.
    """

    image: NDArray[np.float32]
    target: NDArray[np.int64]
    valid: NDArray[np.bool_]


class Layout(Protocol):
    """One published distribution on disk."""

    @property
    def bands(self) -> BandSet:
        """Bands in the order of `Sample.image`."""

    def problems(self, root: Path) -> Iterator[str]:
        """What is missing or wrong below `root`, one sentence each; nothing when complete."""

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        """Sample names of each split; the single key `all` where the authors define none."""

    def read(self, root: Path, name: str) -> Sample:
        """Read one sample; its labels are not yet checked."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """An ordered part of a benchmark, read on demand in the bands asked for.

    The label of a pixel without data is `IGNORE`, whatever the mask says.
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
        check_labels(sample.target, classes=_highest(sample, self.classes), where=name)
        positions = list(self.bands.positions_in(self.layout.bands.names))
        target = sample.target
        if target.ndim == 2 and not sample.valid.all():
            target = np.where(sample.valid, target, IGNORE)
        return sample._replace(image=sample.image[..., positions, :, :], target=target)

    def subset(self, indices: Sequence[int]) -> "Split":
        """The same data, only the samples at these positions."""
        return Split(
            root=self.root,
            layout=self.layout,
            names=tuple(self.names[index] for index in indices),
            bands=self.bands,
            classes=self.classes,
        )

    def targets(self) -> NDArray[np.int64]:
        """All labels, stacked: (N,) or (N, K)."""
        return np.stack([sample.target for sample in self])


def _highest(sample: Sample, classes: int) -> int:
    """Multi-hot labels hold 0 and 1 whatever the number of classes."""
    if sample.target.ndim != 1:
        return classes
    if len(sample.target) != classes:
        raise DataError(f"multi-hot label has {len(sample.target)} entries, wanted {classes}")
    return 2


def absent(root: Path, paths: Sequence[str], *, what: str, most: int = 3) -> Iterator[str]:
    """One sentence when some of `paths` do not exist below `root`."""
    missing = [path for path in paths if not (root / path).exists()]
    if missing:
        shown = ", ".join(missing[:most]) + (", ..." if len(missing) > most else "")
        yield f"{len(missing)} of {len(paths)} {what} missing below {root}: {shown}"


def read_split_file(path: Path, parse: Callable[[Path], Any]) -> Any:
    """Read a file that defines a split, or say which one is missing or unreadable.

    Raises:
        DataError: the file is missing or cannot be parsed.
    """
    if not path.is_file():
        raise DataError(f"split file {path} is missing; it comes with the data set's download")
    try:
        return parse(path)
    except Exception as error:  # a damaged file may raise anything in whatever parses it
        raise DataError(f"split file {path} cannot be read: {error}") from error


def same_shape(name: str, **arrays: NDArray[Any]) -> None:
    """Refuse rasters of one sample that do not lie on one grid.

    Raises:
        DataError: names the sample and every shape.
    """
    shapes = {key: array.shape[-2:] for key, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key} {h} x {w}" for key, (h, w) in shapes.items())
        raise DataError(f"{name}: mismatched pair, sizes differ (rows x columns): {listed}")


def relabel(labels: LabelMask, meaning: Mapping[int, int], *, where: str) -> NDArray[np.int64]:
    """Stored mask values to class numbers; `IGNORE` where the mask is not known.

    Raises:
        DataError: a value has no meaning here.
    """
    stored = labels.values
    target = np.full(stored.shape, IGNORE - 1, np.int64)
    for value, label in meaning.items():
        target[stored == value] = label
    if labels.nodata is not None and labels.nodata not in meaning:
        target[stored == labels.nodata] = IGNORE
    target[~labels.known] = IGNORE
    unknown = np.unique(stored[target == IGNORE - 1])
    if unknown.size:
        found = ", ".join(str(value) for value in unknown[:5])
        wanted = ", ".join(str(value) for value in meaning)
        raise DataError(f"{where}: label {found} out of range; wanted only {wanted}")
    return target
