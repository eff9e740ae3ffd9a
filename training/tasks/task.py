"""A task: what is asked of a model, on which data, scored how."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from deo.bands import BandSet
from deo.errors import DataError
from deo.training.data.float_units import common_unit
from deo.training.tasks.dataset import Layout, Split, Unit


class Task(Enum):
    """What a benchmark asks for."""

    CLASSIFY = "classify"
    MULTILABEL = "multilabel"
    SEGMENT = "segment"
    CHANGE = "change"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One row of the table.

    Args:
        name: what the command line calls it.
        task: what is asked.
        classes: names in label order, or how many.
        layout: reads the authors' distribution.
        unit: what the stored numbers mean.
        metric: a key of `deo.training.tasks.scores.STATISTICS`; the one the paper reports.
        paper: the paper's number in percent, and that with 10 % of the labels.
        shapes: value range and size, in words.
    """

    name: str
    task: Task
    classes: int | tuple[str, ...]
    layout: Layout
    unit: Unit = Unit.DN
    metric: str
    paper: float | None = None
    paper_tenth: float | None = None
    shapes: str = ""

    @property
    def class_count(self) -> int:
        return self.classes if isinstance(self.classes, int) else len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        if isinstance(self.classes, int):
            return tuple(f"class {number}" for number in range(self.classes))
        return self.classes

    def check(self, root: Path) -> None:
        """Refuse an incomplete folder.

        Raises:
            DataError: everything that is missing or wrong, in one message.
        """
        if not root.is_dir():
            raise DataError(f"{self.name}: there is no folder {root}")
        problems = list(self.layout.problems(root))
        if problems:
            raise DataError(f"{self.name} is not complete: " + "; ".join(problems))

    def open(self, root: Path, *, bands: BandSet | None = None) -> dict[str, Split]:
        """Check the folder and open every split: `train`, `valid`, `test`, or `all` alone.

        Args:
            bands: what to read, in this order; None: everything stored.

        Raises:
            DataError: the folder is incomplete or a split is empty.
            BandError: the benchmark lacks one of `bands`.
        """
        common_unit.cache_clear()  # the files may have changed since
        self.check(root)
        wanted = bands or self.layout.bands
        wanted.positions_in(self.layout.bands.names)
        return {
            split: Split(
                root=root, layout=self.layout, names=names, bands=wanted, classes=self.class_count
            )
            for split, names in self.layout.splits(root).items()
        }
