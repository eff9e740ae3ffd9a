"""Where samples come from, behind one protocol of two methods.

A sample is an array (C, H, W) of uint8, uint16 or float32, in the order of `MODEL_BANDS` unless
other bands are asked for: red, green, blue (aerial 0..255 or Sentinel-2 digital numbers), then
the other Sentinel-2 bands in digital numbers.
"""

import importlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import DataError, DeoError
from deo.scene.doors import Door
from deo.scene.scene import Scene, open_scene
from deo.scene.window import Window
from deo.training.data.archives import HDF5_SUFFIXES, Hdf5Samples, TarStream
from deo.training.data.listing import (
    RASTER_SUFFIXES,
    files_below,
    files_in,
    is_raster,
    say_left_out,
)
from deo.training.data.reading import open_quietly
from deo.training.data.shards import INDEX_NAME, Shards
from deo.training.data.stored import digital_numbers

log = logging.getLogger(__name__)

_LARGEST_REFLECTANCE = 3


class Samples(Protocol):
    """What training reads: a number of samples, each by its number.

    Implement these two methods for data of your own; a `run_length` attribute (see `Order`)
    is optional.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> NDArray[Any]: ...


def open_samples(
    source: str | Path,
    *,
    bands: BandSet = MODEL_BANDS,
    size: int = 96,
    valid: float = 0.9,
    scale: float | None = None,
    offset: float | None = None,
) -> Samples:
    """Open a folder of shards, an HDF5 file, WebDataset tars or a folder of scenes.

    Args:
        source: a folder with `index.json`; a `.h5`/`.hdf5` file with one dataset `images`; a
            `.tar` or a folder of them; a folder of GeoTIFFs, which are cut on the fly; or
            `module:name`, a callable of yours that returns `Samples`.
        bands: bands and order wanted.
        size, valid: for scenes only: edge of a cut in pixels, and the part of it that must hold
            data.
        scale, offset: for HDF5 and tars only: digital number = stored x scale + offset, above all
            evidence.

    Raises:
        DataError: nothing readable stands there; the message says what was found.
        RadiometryError: it cannot be told what the numbers of an HDF5 file mean.
    """
    path = Path(source)
    if not path.exists() and re.fullmatch(r"[\w.]+:\w+", str(source)):
        return _own_samples(str(source))
    if not path.exists():
        raise DataError(f"{path} does not exist; give shards, an HDF5 file, tars or scenes")
    if path.suffix.lower() in HDF5_SUFFIXES:
        return Hdf5Samples(path, bands=bands, scale=scale, offset=offset)
    if (path / INDEX_NAME).exists() or any(path.glob("shard-*.bin")):
        shards = Shards(path, bands=bands)
        _check_level(shards)
        return shards
    if tars := find_tars(path):
        if path.is_dir():
            left = [other for other in files_below(path) if other not in tars]
            say_left_out(path, left, because="since tars stand there")
        return TarStream(tars, bands=bands, scale=scale, offset=offset)
    if find_scenes(path):
        return SceneFolder(path, bands=bands, size=size, valid=valid)
    if path.is_file():
        raise DataError(f"{path} is not data this reader knows: .h5, .hdf5, .tar or a folder")
    raise DataError(
        f"{path} holds no samples: no {INDEX_NAME}, no .tar and no scene "
        f"({', '.join(RASTER_SUFFIXES)}, .SAFE) was found in it"
    )


def _check_level(shards: Shards) -> None:
    """Refuse shards that hold nothing: reflectance was rounded to 0 and 1 once.

    Raises:
        DataError: no number in them is larger than reflectance.
    """
    statistics = shards.index.details.get("statistics")
    if statistics is None:
        return
    highest = max((row["max"] for row in statistics.values()), default=0)
    if highest <= _LARGEST_REFLECTANCE:
        raise DataError(
            f"{shards.folder}: no number in these shards is larger than {highest:g}, so they hold "
            "rounded reflectance or nothing; make them again with this version of deo prepare, in "
            "another folder"
        )


def find_tars(source: Path) -> list[Path]:
    """The tar that `source` is, or those that stand in it, sorted."""
    if source.is_file():
        return [source] if source.suffix.lower() == ".tar" else []
    return files_in(source, (".tar",))


def _own_samples(source: str) -> Samples:
    module, _, name = source.partition(":")
    try:
        made: Samples = getattr(importlib.import_module(module), name)()
        len(made)
    except (ImportError, AttributeError, TypeError) as error:
        raise DataError(
            f"{source} names no callable that returns samples ({error}); is its folder on "
            "PYTHONPATH, and does the result have __len__ and __getitem__?"
        ) from error
    return made


def find_scenes(folder: Path, pattern: str = "*") -> list[Path]:
    """Rasters and .SAFE products under `folder` whose file name matches `pattern`, sorted.

    Links to folders are followed, suffixes count in any case. Files inside a .SAFE product are its
    own business and are not listed.
    """
    if folder.is_file() or _is_product(folder):
        return [folder] if is_raster(folder) or folder.suffix.lower() in (".safe", ".zip") else []
    return sorted(path for path in files_below(folder) if _is_scene(path, pattern))


def list_scenes(folder: Path, pattern: str = "*") -> list[Path]:
    """What `find_scenes` finds; what it leaves is counted and logged."""
    scenes = find_scenes(folder, pattern)
    if folder.is_dir() and not _is_product(folder):
        left = [path for path in files_below(folder) if not _is_scene(path, pattern)]
        named = "" if pattern == "*" else f", or not named {pattern}"
        say_left_out(folder, left, because=f"being no scenes{named}")
    return scenes


def _is_scene(path: Path, pattern: str) -> bool:
    return (is_raster(path) or _is_product(path)) and path.match(pattern)


def _is_product(path: Path) -> bool:
    return path.suffix.lower() == ".safe"


def scene_door(source: Path) -> Door:
    """How the scenes of `find_scenes` come in: one that is named itself, or found in a folder."""
    return Door.NAMED if source.is_file() else Door.FOUND


class Cut(NamedTuple):
    """A square of a scene: upper-left pixel, values (C, S, S) in digital numbers, invalid = 0."""

    row: int
    col: int
    values: NDArray[np.uint16]


def cut_scene(
    scene: Scene, *, bands: BandSet, size: int, stride: int, valid: float, rows: range
) -> Iterator[Cut]:
    """Squares of `size` at every `stride` whose valid part is at least `valid`.

    Args:
        rows: first pixel rows to cut at, see `cut_rows`. Each is read once, over the full width.
    """
    for row in rows:
        strip = scene.read(Window(row=row, col=0, height=size, width=scene.width), bands)
        for col in range(0, scene.width - size + 1, stride):
            here = strip.valid[:, col : col + size]
            if here.mean() >= valid and here.any():
                yield Cut(row, col, digital_numbers(strip.values[:, :, col : col + size], here))


def cut_rows(scene: Scene, *, size: int, stride: int) -> range:
    """First pixel rows of the cuts of a scene; empty where the scene is smaller than a cut."""
    return range(0, scene.height - size + 1, stride) if scene.width >= size else range(0)


class OpenScenes:
    """The last few scenes asked for, kept open. Handles are this process's own.

    Args:
        limit: how many stay open.
        options: passed to `open_scene`.
    """

    def __init__(self, *, limit: int = 8, **options: Any) -> None:
        self._limit, self._options = limit, options
        self._scenes: dict[Path, Scene] = {}
        self._process = os.getpid()

    def __getitem__(self, path: Path) -> Scene:
        if self._process != os.getpid():  # GDAL handles do not survive a fork
            self._scenes, self._process = {}, os.getpid()
        if path not in self._scenes:
            while len(self._scenes) >= self._limit:
                self._scenes.pop(next(iter(self._scenes))).close()
            self._scenes[path] = open_quietly(path, **self._options)
        return self._scenes[path]

    def close(self) -> None:
        """Close every scene of this process."""
        if self._process == os.getpid():
            for scene in self._scenes.values():
                scene.close()
        self._scenes = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scenes": {}, "_process": -1}


class SceneFolder:
    """Scenes cut on the fly. The cuts are listed once, from the validity of one band.

    Args:
        folder: searched through; see `find_scenes`.
        size, stride: edge and step in pixels (step = edge when not given).
        valid: the part of a cut that must hold data.

    Raises:
        DataError: no scene, or no cut with enough data.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        bands: BandSet = MODEL_BANDS,
        size: int = 96,
        stride: int | None = None,
        valid: float = 0.9,
        pattern: str = "*",
    ) -> None:
        self.bands, self.size = bands, size
        door = scene_door(Path(folder))
        self._scenes = OpenScenes(door=door)
        self._cuts: list[tuple[Path, int, int]] = []
        scenes, step = list_scenes(Path(folder), pattern), stride or size
        for path in scenes:
            with open_scene(path, door=door) as scene:
                rows, first = cut_rows(scene, size=size, stride=step), BandSet([bands[0]])
                cuts = cut_scene(scene, bands=first, size=size, stride=step, valid=valid, rows=rows)
                self._cuts += [(path, cut.row, cut.col) for cut in cuts]
        if not self._cuts:
            raise DataError(
                f"{folder}: {len(scenes)} scenes and not one cut of {size} x {size} pixels with "
                f"{valid:.0%} of data; take a smaller size or a lower valid part"
            )
        log.info("%s: %d cuts from %d scenes", folder, len(self._cuts), len(scenes))

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, number: int) -> NDArray[np.uint16]:
        """Cut `number`: (C, S, S) uint16."""
        path, row, col = self._cuts[number]
        window = Window(row=row, col=col, height=self.size, width=self.size)
        try:
            pixels = self._scenes[path].read(window, self.bands)
        except DeoError as error:
            raise DataError(f"{path} at row {row}, column {col}: {error}") from error
        return digital_numbers(pixels.values, pixels.valid)
