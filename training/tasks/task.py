"""Tasks and benchmarks: what is asked of a model, on which data, and how the answer is scored."""

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
    """One row of the paper's tables, or a folder of the user's data.

    Args:
        name: as on the command line.
        task: what is asked of the model.
        classes: names in label order, or how many.
        layout: reads the authors' distribution.
        unit: what the stored numbers mean.
        metric: the one that the paper reports, a key of `deo.training.tasks.scores.STATISTICS`.
        paper, paper_tenth: the paper's result in percent, with all and with 10 % of the labels.
        shapes: sizes and range of values, in words.
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
        """Check that the folder is complete.

        Raises:
            DataError: it is not; one message lists everything that is missing or wrong.
        """
        if not root.is_dir():
            raise DataError(f"{self.name}: there is no folder {root}")
        problems = list(self.layout.problems(root))
        if problems:
            raise DataError(f"{self.name} is not complete: " + "; ".join(problems))

    def open(self, root: Path, *, bands: BandSet | None = None) -> dict[str, Split]:
        """Check the folder and open every split: `train`, `valid`, `test`, or `all` alone.

        Args:
            bands: which to read, in this order; None: all that are stored.

        Raises:
            DataError: the folder is incomplete or a split is empty.
            BandError: the benchmark lacks one of `bands`.
        """
        common_unit.cache_clear()  # the files may have changed since they were last opened
        self.check(root)
        wanted = bands or self.layout.bands
        wanted.positions_in(self.layout.bands.names)
        return {
            split: Split(
                root=root, layout=self.layout, names=names, bands=wanted, classes=self.class_count
            )
            for split, names in self.layout.splits(root).items()
        }
