"""Two dates and a change mask: LEVIR-CD and OSCD in their own layouts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deo.bands import RGB_BANDS, BandSet, Pixels
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.listing import files_in, raster_named
from deo.training.data.reading import float_judge, lay_on, read_image, read_labels
from deo.training.tasks.dataset import (
    IGNORE,
    Sample,
    absent,
    read_split_file,
    relabel,
    same_shape,
)

OSCD_BANDS = BandSet(band.name for band in SENTINEL2)
_SLACK = 8  # some published pairs differ by a few pixels at the right and lower edge


@dataclass(frozen=True, kw_only=True)
class LEVIR:
    """`<split>/{A,B,label}/<name>.png` (train, val, test), 1024 x 1024 RGB, label 0/255.

    Also `{A,B,label}/<name>.png` with `list/<split>.txt`, as some copies are packed.
    """

    bands: BandSet = RGB_BANDS
    _folders: ClassVar = {"train": "train", "valid": "val", "test": "test"}

    def problems(self, root: Path) -> Iterator[str]:
        if not self._listed(root):
            missing = [name for name in self._folders.values() if not (root / name / "A").is_dir()]
            if missing:
                yield f"no {'/A, '.join(missing)}/A below {root} (and no A/ with list/<split>.txt)"
                return
        elif lost := [name for name in self._folders.values() if not self._list(root, name)]:
            yield f"split file list/{lost[0]}.txt is missing below {root}"
            return
        names = [name for part in self.splits(root).values() for name in part]
        for kind in ("A", "B", "label"):
            paths = [str(self._path(Path(), name, kind)) for name in names]
            yield from absent(root, paths, what=f"{kind} images")

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        if self._listed(root):
            return {
                split: read_split_file(root / "list" / f"{folder}.txt", _lines)
                for split, folder in self._folders.items()
            }
        return {
            split: tuple(
                f"{folder}/{path.name}" for path in files_in(root / folder / "A", (".png",))
            )
            for split, folder in self._folders.items()
        }

    @staticmethod
    def _listed(root: Path) -> bool:
        return (root / "A").is_dir()

    @staticmethod
    def _list(root: Path, folder: str) -> bool:
        return (root / "list" / f"{folder}.txt").is_file()

    @staticmethod
    def _path(root: Path, name: str, kind: str) -> Path:
        folder, _, file = name.rpartition("/")
        return root / folder / kind / file

    def read(self, root: Path, name: str) -> Sample:
        first, second = (
            read_image(self._path(root, name, kind), bands=self.bands).pixels for kind in "AB"
        )
        labels = read_labels(self._path(root, name, "label"))
        same_shape(name, A=first.valid, B=second.valid, label=labels.values)
        target = relabel(labels, {0: 0, 255: 1}, where=f"{name} label")
        image = np.stack((first.values, second.values))
        return Sample(image, target, first.valid & second.valid)


@dataclass(frozen=True, kw_only=True)
class OSCD:
    """Onera's cities as published, or as one file per date.

    Published: `<city>/imgs_{1,2}_rect/B01.tif ... B12.tif` (thirteen files), `<city>/cm/` with
    `cm.png` (0/255) or `<city>-cm.tif` (1/2), and `train.txt`, `test.txt`, comma-separated,
    anywhere below the root. One file per date: `<city>_{1,2}_<date>.tif` with thirteen named
    bands and `<city>_cm.tif` (0, 1, 255 = no data); cities without a mask are left out, and
    without `train.txt` and `test.txt` there is one unsplit part.
    """

    bands: BandSet = OSCD_BANDS

    def problems(self, root: Path) -> Iterator[str]:
        lists = [name for name in ("train.txt", "test.txt") if _below(root, name) is not None]
        flat = self._flat(root)
        if len(lists) < 2 and (lists or not flat):
            lost = [name for name in ("train.txt", "test.txt") if name not in lists]
            yield f"split file {', '.join(lost)} is missing below {root}"
            if not lists:
                yield "nor are there files <city>_1_<date>.tif, <city>_2_<date>.tif, <city>_cm.tif"
            return
        for city in sorted({name for part in self.splits(root).values() for name in part}):
            if flat:
                dates = flat.get(city, {})
                for date in sorted({1, 2} - set(dates)):
                    yield f"{city}: no {city}_{date}_<date>.tif below {root}"
                if raster_named(root, f"{city}_cm") is None:
                    yield f"{city}: no {city}_cm.tif below {root}"
            else:
                yield from self._published_problems(root, city)

    def _published_problems(self, root: Path, city: str) -> Iterator[str]:
        for date in (1, 2):
            folder = self._date_folder(root, city, date)
            if folder is None:
                yield f"{city}: no folder imgs_{date}_rect below {root}"
                continue
            lost = [band for band in self.bands if _band_file(folder, band) is None]
            if lost:
                yield f"{city}: bands {', '.join(lost)} missing in {folder}"
        if self._mask_file(root, city) is None:
            yield f"{city}: no mask cm/cm.png or cm/{city}-cm.tif below {root}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        train, test = _below(root, "train.txt"), _below(root, "test.txt")
        if train is None or test is None:
            masked = sorted(
                path.stem.removesuffix("_cm")
                for path in files_in(root)
                if path.stem.endswith("_cm")
            )
            return {"all": tuple(masked)}
        return {
            "train": read_split_file(train, _comma_separated),
            "test": read_split_file(test, _comma_separated),
        }

    @staticmethod
    def _flat(root: Path) -> dict[str, dict[int, Path]]:
        """`<city>` -> date number -> file, for cities stored as one file per date."""
        found: dict[str, dict[int, Path]] = {}
        for path in files_in(root):
            match = re.fullmatch(r"(.+)_([12])_\d{8}", path.stem)
            if match:
                found.setdefault(match[1], {})[int(match[2])] = path
        return found

    @staticmethod
    def _date_folder(root: Path, city: str, date: int) -> Path | None:
        for pattern in (f"imgs_{date}_rect", f"imgs_{date}"):
            for folder in (root / city / pattern, *sorted(root.glob(f"*/{city}/{pattern}"))):
                if folder.is_dir():
                    return folder
        return None

    @staticmethod
    def _mask_file(root: Path, city: str) -> Path | None:
        for name in ("cm.png", f"{city}-cm.tif", "cm.tif"):
            for path in (root / city / "cm" / name, *sorted(root.glob(f"*/{city}/cm/{name}"))):
                if path.is_file():
                    return path
        return None

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        dates = self._flat(root).get(name, {})
        if set(dates) == {1, 2}:
            return dates[1], dates[2]
        return tuple(
            path for date in (1, 2) for path in self._band_files(root, name, date).values()
        )

    def read(self, root: Path, name: str) -> Sample:
        if set(self._flat(root).get(name, {})) == {1, 2}:
            first, second, target = self._one_file_per_date(root, name)
        else:
            first, second, target = self._published(root, name)
        # the authors mark nothing: 0 in all bands is beyond the edge
        valid = first.valid & second.valid & first.values.any(0) & second.values.any(0)
        return Sample(np.stack((first.values, second.values)), target, valid)

    def _one_file_per_date(self, root: Path, name: str) -> tuple[Pixels, Pixels, NDArray[np.int64]]:
        """Second date and mask laid on the first date by their georeferences."""
        judge = float_judge(self, root)
        first, second = (
            read_image(path, bands=self.bands, judge_floats=judge)
            for path in self.images(root, name)
        )
        path = raster_named(root, f"{name}_cm") or root / f"{name}_cm.tif"
        labels = read_labels(path)
        _common(name, first.pixels.valid, second.pixels.valid, labels.values)
        target = relabel(read_labels(path, onto=first), {0: 0, 1: 1, 255: IGNORE}, where=path.name)
        return first.pixels, lay_on(second, first, label=f"{name}: second date"), target

    def _published(self, root: Path, name: str) -> tuple[Pixels, Pixels, NDArray[np.int64]]:
        """Row upon row: the authors registered the dates to each other as pictures."""
        dates = [self._stacked(root, name, date) for date in (1, 2)]
        path = self._mask_file(root, name)
        if path is None:
            raise DataError(f"{name}: no mask cm/cm.png or cm/{name}-cm.tif below {root}")
        meaning = {0: 0, 255: 1} if path.suffix.lower() == ".png" else {1: 0, 2: 1}
        target = relabel(read_labels(path), meaning, where=path.name)
        _common(name, dates[0].valid, dates[1].valid, target)
        height, width = (
            min(sizes)
            for sizes in zip(dates[0].valid.shape, dates[1].valid.shape, target.shape, strict=True)
        )
        first, second = (
            Pixels(date.values[:, :height, :width], date.valid[:height, :width]) for date in dates
        )
        return first, second, target[:height, :width]

    def _stacked(self, root: Path, city: str, date: int) -> Pixels:
        """One date's thirteen files, on the grid of B02."""
        judge = float_judge(self, root)
        planes = {
            band: read_image(path, bands=BandSet([band]), judge_floats=judge).pixels
            for band, path in self._band_files(root, city, date).items()
        }
        shape = planes["B02"].valid.shape
        values = [_resampled(plane.values[0], shape) for plane in planes.values()]
        valid = [_resampled(plane.valid, shape) for plane in planes.values()]
        return Pixels(np.stack(values), np.logical_and.reduce(valid))

    def _band_files(self, root: Path, city: str, date: int) -> dict[str, Path]:
        folder = self._date_folder(root, city, date)
        if folder is None:
            raise DataError(f"{city}: no folder imgs_{date}_rect below {root}")
        files = {}
        for band in self.bands:
            path = _band_file(folder, band)
            if path is None:
                raise DataError(f"{city}: band {band} is missing in {folder}")
            files[band] = path
        return files


def _band_file(folder: Path, band: str) -> Path | None:
    """`B01.tif`, or a product's own name that ends in `_B01.tif`."""
    exact = raster_named(folder, band)
    return exact or next(
        (path for path in files_in(folder) if path.stem.endswith(f"_{band}")), None
    )


def _resampled(plane: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A 20 m or 60 m plane on the 10 m grid, nearest neighbour; others as they are."""
    if plane.shape == shape:
        return plane
    rows, cols = (
        np.minimum(np.arange(to) * size // to, size - 1)
        for to, size in zip(shape, plane.shape, strict=True)
    )
    return np.asarray(plane[np.ix_(rows, cols)])


def _common(name: str, *arrays: NDArray[Any]) -> None:
    """Refuse dates and mask that differ by more than a few pixels."""
    heights = [array.shape[-2] for array in arrays]
    widths = [array.shape[-1] for array in arrays]
    if max(heights) - min(heights) > _SLACK or max(widths) - min(widths) > _SLACK:
        same_shape(name, **dict(zip(("date1", "date2", "mask"), arrays, strict=True)))


def _below(root: Path, name: str) -> Path | None:
    return next(
        (path for path in (root / name, *sorted(root.glob(f"*/{name}"))) if path.is_file()), None
    )


def _comma_separated(path: Path) -> tuple[str, ...]:
    names = re.split(r"[,\s]+", path.read_text().strip())
    if not any(names):
        raise ValueError("it names no city")
    return tuple(name for name in names if name)


def _lines(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
