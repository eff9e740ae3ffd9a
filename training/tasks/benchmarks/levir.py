"""LEVIR-CD: new buildings between two aerial images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from deo.bands import RGB_BANDS, BandSet
from deo.training.data.listing import files_in
from deo.training.data.reading import read_labels
from deo.training.tasks.dataset import (
    Sample,
    Unit,
    absent,
    read_chip,
    read_split_file,
    relabel,
    same_shape,
)
from deo.training.tasks.task import Benchmark, Task


@dataclass(frozen=True, kw_only=True)
class LEVIR:
    """`<split>/{A,B,label}/<name>.png` (train, val, test), 1024 x 1024 RGB, label 0/255.

    Some copies are packed as `{A,B,label}/<name>.png` with `list/<split>.txt`.
    """

    bands: BandSet = RGB_BANDS
    _folders: ClassVar = {"train": "train", "valid": "val", "test": "test"}

    def problems(self, root: Path) -> Iterator[str]:
        if not _is_listed(root):
            missing = [name for name in self._folders.values() if not (root / name / "A").is_dir()]
            if missing:
                yield f"no {'/A, '.join(missing)}/A below {root} (and no A/ with list/<split>.txt)"
                return
        elif lost := [name for name in self._folders.values() if not _list(root, name).is_file()]:
            yield f"split file list/{lost[0]}.txt is missing below {root}"
            return
        names = [name for part in self.splits(root).values() for name in part]
        for kind in ("A", "B", "label"):
            paths = [str(_file(Path(), name, kind)) for name in names]
            yield from absent(root, paths, what=f"{kind} images")

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        if _is_listed(root):
            return {
                split: read_split_file(_list(root, folder), _lines)
                for split, folder in self._folders.items()
            }
        return {
            split: tuple(
                f"{folder}/{path.name}" for path in files_in(root / folder / "A", (".png",))
            )
            for split, folder in self._folders.items()
        }

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        return _file(root, name, "A"), _file(root, name, "B")

    def read(self, root: Path, name: str) -> Sample:
        first, second = (read_chip(self, root, path).pixels for path in self.images(root, name))
        labels = read_labels(_file(root, name, "label"))
        same_shape(name, A=first.valid, B=second.valid, label=labels.values)
        target = relabel(labels, {0: 0, 255: 1}, where=f"{name} label")
        image = np.stack((first.values, second.values))
        return Sample(image, target, first.valid & second.valid)


def _is_listed(root: Path) -> bool:
    return (root / "A").is_dir()


def _list(root: Path, folder: str) -> Path:
    return root / "list" / f"{folder}.txt"


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())


def _file(root: Path, name: str, kind: str) -> Path:
    folder, _, file = name.rpartition("/")
    return root / folder / kind / file


PUBLISHED = (
    Benchmark(
        name="levir-cd",
        task=Task.CHANGE,
        classes=("unchanged", "changed"),
        layout=LEVIR(),
        unit=Unit.BYTE,
        metric="f1",
        paper=91.3,
        shapes="2 x 3 x 1024 x 1024 uint8 RGB",
    ),
)
