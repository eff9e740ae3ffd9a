"""Squares cut from the scenes of a folder, on the fly."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import DataError, DeoError
from deo.scene.formats import Door
from deo.scene.opening import open_scene
from deo.scene.scene import Scene
from deo.scene.window import Window
from deo.training.data.listing import files_below, is_raster, say_left_out
from deo.training.data.reading import open_quietly
from deo.training.data.stored import digital_numbers

log = logging.getLogger(__name__)


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
        named = "" if pattern == "*" else f" named {pattern}"
        say_left_out(folder, left, because=f"as only scenes{named} are read")
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
        # one read for a row of cuts: strips and tiles of a file are decompressed once
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
                # one band says where data are, at a tenth of the reading
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
