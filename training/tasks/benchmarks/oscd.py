"""OSCD, Onera's Sentinel-2 pairs: urban change between two dates."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import PRODUCT_BANDS, BandSet, Pixels
from deo.errors import DataError
from deo.training.data.listing import files_in, raster_named
from deo.training.data.reading import lay_on, read_labels
from deo.training.tasks.dataset import (
    Rasters,
    Sample,
    read_chip,
    read_split_file,
    relabel,
    same_shape,
)
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.task import Benchmark, Task

_SLACK = 8  # some published pairs differ by a few pixels at the right and lower edge


class _City(NamedTuple):
    """Both dates of a city and the change between them, on one grid."""

    first: Pixels
    second: Pixels
    target: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class OSCD(Rasters):
    """Onera's cities as published, or as one file per date.

    Published: `<city>/imgs_{1,2}_rect/B01.tif ... B12.tif` (thirteen files), `<city>/cm/` with
    `cm.png` (0/255) or `<city>-cm.tif` (1/2), and `train.txt`, `test.txt`, comma-separated,
    anywhere below the root. One file per date: `<city>_{1,2}_<date>.tif` with thirteen named
    bands and `<city>_cm.tif` (0, 1, 255 = no data); cities without a mask are left out, and
    without `train.txt` and `test.txt` there is one unsplit part.
    """

    bands: BandSet = PRODUCT_BANDS

    def problems(self, root: Path) -> Iterator[str]:
        lists = [name for name in ("train.txt", "test.txt") if _file(root, name) is not None]
        dated = _dated_files(root)
        if len(lists) < 2 and (lists or not dated):
            lost = [name for name in ("train.txt", "test.txt") if name not in lists]
            yield f"split file {', '.join(lost)} is missing below {root}"
            if not lists:
                yield "nor are there files <city>_1_<date>.tif, <city>_2_<date>.tif, <city>_cm.tif"
            return
        for city in sorted({name for part in self.splits(root).values() for name in part}):
            if dated:
                yield from _dated_problems(root, city, dated.get(city, {}))
            else:
                yield from self._published_problems(root, city)

    def _published_problems(self, root: Path, city: str) -> Iterator[str]:
        for date in (1, 2):
            folder = _date_folder(root, city, date)
            if folder is None:
                yield f"{city}: no folder imgs_{date}_rect below {root}"
                continue
            lost = [band for band in self.bands if _band_file(folder, band) is None]
            if lost:
                yield f"{city}: bands {', '.join(lost)} missing in {folder}"
        if _mask_file(root, city) is None:
            yield f"{city}: no mask cm/cm.png or cm/{city}-cm.tif below {root}"

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        train, test = _file(root, "train.txt"), _file(root, "test.txt")
        if train is None or test is None:
            masks = sorted(path.stem for path in files_in(root) if path.stem.endswith("_cm"))
            return {"all": tuple(stem.removesuffix("_cm") for stem in masks)}
        return {
            "train": read_split_file(train, _comma_separated),
            "test": read_split_file(test, _comma_separated),
        }

    def images(self, root: Path, name: str) -> tuple[Path, ...]:
        dates = _dated_files(root).get(name, {})
        if set(dates) == {1, 2}:
            return dates[1], dates[2]
        return tuple(
            path for date in (1, 2) for path in self._band_files(root, name, date).values()
        )

    def read(self, root: Path, name: str) -> Sample:
        dated = set(_dated_files(root).get(name, {})) == {1, 2}
        first, second, target = (
            self._one_file_per_date(root, name) if dated else self._published(root, name)
        )
        # the images declare no nodata value: 0 in all bands is beyond the edge
        valid = first.valid & second.valid & first.values.any(0) & second.values.any(0)
        return Sample(np.stack((first.values, second.values)), target, valid)

    def _one_file_per_date(self, root: Path, name: str) -> _City:
        """Second date and mask laid on the first date by their georeferences."""
        first, second = (read_chip(self, root, path) for path in self.images(root, name))
        path = raster_named(root, f"{name}_cm") or root / f"{name}_cm.tif"
        _nearly_same_shape(name, first.pixels.valid, second.pixels.valid, read_labels(path).values)
        target = relabel(read_labels(path, onto=first), {0: 0, 1: 1, 255: IGNORE}, where=path.name)
        return _City(first.pixels, lay_on(second, first, label=f"{name}: second date"), target)

    def _published(self, root: Path, name: str) -> _City:
        """Row upon row: the authors registered the dates to each other as pictures."""
        dates = [self._stacked(root, name, date) for date in (1, 2)]
        path = _mask_file(root, name)
        if path is None:
            raise DataError(f"{name}: no mask cm/cm.png or cm/{name}-cm.tif below {root}")
        # the PNG is for looking at, the TIFF counts classes from 1
        meaning = {0: 0, 255: 1} if path.suffix.lower() == ".png" else {1: 0, 2: 1}
        target = relabel(read_labels(path), meaning, where=path.name)
        _nearly_same_shape(name, dates[0].valid, dates[1].valid, target)
        height, width = (
            min(sizes)
            for sizes in zip(dates[0].valid.shape, dates[1].valid.shape, target.shape, strict=True)
        )
        first, second = (
            Pixels(date.values[:, :height, :width], date.valid[:height, :width]) for date in dates
        )
        return _City(first, second, target[:height, :width])

    def _stacked(self, root: Path, city: str, date: int) -> Pixels:
        """One date's thirteen files, on the grid of B02."""
        planes = {
            band: read_chip(self, root, path, bands=BandSet([band])).pixels
            for band, path in self._band_files(root, city, date).items()
        }
        shape = planes["B02"].valid.shape
        values = [_resampled(plane.values[0], shape) for plane in planes.values()]
        valid = [_resampled(plane.valid, shape) for plane in planes.values()]
        return Pixels(np.stack(values), np.logical_and.reduce(valid))

    def _band_files(self, root: Path, city: str, date: int) -> dict[str, Path]:
        folder = _date_folder(root, city, date)
        if folder is None:
            raise DataError(f"{city}: no folder imgs_{date}_rect below {root}")
        files = {}
        for band in self.bands:
            path = _band_file(folder, band)
            if path is None:
                raise DataError(f"{city}: band {band} is missing in {folder}")
            files[band] = path
        return files


def _dated_files(root: Path) -> dict[str, dict[int, Path]]:
    """`<city>` -> date number -> file, for cities stored as one file per date."""
    cities: dict[str, dict[int, Path]] = {}
    for path in files_in(root):
        match = re.fullmatch(r"(.+)_([12])_\d{8}", path.stem)
        if match:
            cities.setdefault(match[1], {})[int(match[2])] = path
    return cities


def _dated_problems(root: Path, city: str, dates: Mapping[int, Path]) -> Iterator[str]:
    for date in sorted({1, 2} - set(dates)):
        yield f"{city}: no {city}_{date}_<date>.tif below {root}"
    if raster_named(root, f"{city}_cm") is None:
        yield f"{city}: no {city}_cm.tif below {root}"


def _places(root: Path, relative: str) -> list[Path]:
    """Below the root itself, or below one of the three folders that the authors' archives make."""
    return [root / relative, *sorted(root.glob(f"*/{relative}"))]


def _file(root: Path, *relatives: str) -> Path | None:
    """The first of these that is a file."""
    paths = (path for relative in relatives for path in _places(root, relative))
    return next((path for path in paths if path.is_file()), None)


def _mask_file(root: Path, city: str) -> Path | None:
    return _file(root, *(f"{city}/cm/{name}" for name in ("cm.png", f"{city}-cm.tif", "cm.tif")))


def _date_folder(root: Path, city: str, date: int) -> Path | None:
    names = (f"{city}/imgs_{date}_rect", f"{city}/imgs_{date}")
    folders = (path for name in names for path in _places(root, name))
    return next((path for path in folders if path.is_dir()), None)


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


def _nearly_same_shape(name: str, *arrays: NDArray[Any]) -> None:
    """Refuse dates and mask that differ by more than a few pixels."""
    heights = [array.shape[-2] for array in arrays]
    widths = [array.shape[-1] for array in arrays]
    if max(heights) - min(heights) > _SLACK or max(widths) - min(widths) > _SLACK:
        same_shape(name, **dict(zip(("date1", "date2", "mask"), arrays, strict=True)))


def _comma_separated(path: Path) -> tuple[str, ...]:
    names = re.split(r"[,\s]+", path.read_text().strip())
    if not any(names):
        raise ValueError("it names no city")
    return tuple(name for name in names if name)


PUBLISHED = (
    Benchmark(
        name="oscd",
        task=Task.CHANGE,
        classes=("unchanged", "changed"),
        layout=OSCD(),
        metric="f1",
        paper=60.4,
        shapes="2 x 13 x about 600 x 600 uint16, digital numbers",
    ),
)
