"""What writes a map: a feature COG, GeoParquet or Zarr by the target's suffix, or a class map."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deo.errors import ConfigError, OutputError
from deo.files.publish import Room, check_folder, disk_errors, publish, scratch_folder
from deo.maps import chips, class_map, cog, geoparquet, zarr_store
from deo.maps.metadata import MapInfo
from deo.maps.quantise import DTYPES
from deo.maps.rows import RowReader, Shape
from deo.scene.inputs import input_files

SUFFIXES = {
    ".tif": "cloud-optimised GeoTIFF",
    ".tiff": "cloud-optimised GeoTIFF",
    ".parquet": "GeoParquet of chip embeddings",
    ".zarr": "Zarr version 3",
}
DEFAULT_CHIP = 224


class Sink(Protocol):
    """One kind of output: how it is written, and how it is known again.

    `height` and `width` are those of the scene in pixels.
    """

    @property
    def title(self) -> str:
        """What the output is, for messages."""

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        """Refuse before anything is computed what this kind cannot hold.

        Raises:
            DeoError: it cannot, or an extra of `deo` that it needs is not installed.
        """

    def room(self, shape: Shape, info: MapInfo) -> Room:
        """Bytes that writing one layer's map takes beside its rows."""

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        """Write a map as `target`, which nobody else reads yet."""

    def read_tags(self, path: Path) -> dict[str, str] | None:
        """The `DEO_` tags of an output that exists, or None when it is none of this kind."""

    def damage(self, path: Path) -> str | None:
        """What an output lacks that is of this kind or may be; None for a whole one."""


@dataclass(frozen=True)
class CogSink:
    """Features, or probabilities, as bands of a cloud-optimised GeoTIFF."""

    title: str = "GeoTIFF of features"

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        pass

    def room(self, shape: Shape, info: MapInfo) -> Room:
        return cog.room(shape, info.dtype)

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        cog.write_cog(rows, info, target, target.with_name(f".{target.name}"))

    def read_tags(self, path: Path) -> dict[str, str] | None:
        return cog.read_tags(path)

    def damage(self, path: Path) -> str | None:
        return cog.damage(path) if path.is_file() else None


@dataclass(frozen=True)
class ClassMapSink:
    """The most probable class of every cell, as bytes with a colour table."""

    title: str = "class map"

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        class_map.check(info)

    def room(self, shape: Shape, info: MapInfo) -> Room:
        return class_map.room(shape)

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        class_map.write_class_map(rows, info, target, target.with_name(f".{target.name}"))

    def read_tags(self, path: Path) -> dict[str, str] | None:
        return cog.read_tags(path, classes=True)

    def damage(self, path: Path) -> str | None:
        return cog.damage(path, classes=True) if path.is_file() else None


@dataclass(frozen=True)
class GeoParquetSink:
    """Mean features of chips of `chip` pixels."""

    chip: int = DEFAULT_CHIP
    title: str = "GeoParquet of chips"

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        geoparquet.check(info, self.chip)
        chips.check_place(info, height=height, width=width)

    def room(self, shape: Shape, info: MapInfo) -> Room:
        return geoparquet.room(shape, info.dtype, cells=self.chip // info.stride)

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        scratch = target.with_name(f".{target.name}")
        geoparquet.write_geoparquet(
            rows, info, target, scratch, chip=self.chip, height=height, width=width
        )

    def read_tags(self, path: Path) -> dict[str, str] | None:
        return geoparquet.read_tags(path)

    def damage(self, path: Path) -> str | None:
        return geoparquet.damage(path)


@dataclass(frozen=True)
class ZarrSink:
    """A Zarr group with the map and its valid fraction."""

    title: str = "Zarr group"

    def check(self, info: MapInfo, *, height: int, width: int) -> None:
        zarr_store.check()

    def room(self, shape: Shape, info: MapInfo) -> Room:
        return zarr_store.room(shape, info.dtype)

    def write(
        self, rows: RowReader, info: MapInfo, target: Path, *, height: int, width: int
    ) -> None:
        zarr_store.write_zarr(rows, info, target)

    def read_tags(self, path: Path) -> dict[str, str] | None:
        return zarr_store.read_tags(path)

    def damage(self, path: Path) -> str | None:
        return zarr_store.damage(path) if path.is_dir() else None


def feature_sink(target: Path, *, chip: int = DEFAULT_CHIP) -> Sink:
    """What writes features to `target`, as its suffix says.

    Raises:
        OutputError: the suffix is none of `SUFFIXES`.
    """
    suffix = check_suffix(target)
    if suffix == ".parquet":
        return GeoParquetSink(chip)
    return ZarrSink() if suffix == ".zarr" else CogSink()


def check_target(target: Path, info: MapInfo, sink: Sink, *, height: int, width: int) -> None:
    """Refuse before anything is computed what could not be written afterwards.

    Args:
        height, width: of the scene in pixels.

    Raises:
        OutputError: a place that cannot be written to.
        ConfigError: an unknown data type, or chips that do not fit the layer.
        MissingExtraError: the format needs an extra of `deo` that is not installed.
    """
    if info.dtype not in DTYPES:
        raise ConfigError(f"unknown data type {info.dtype!r}; choose one of {', '.join(DTYPES)}")
    sink.check(info, height=height, width=width)
    check_folder(target)
    is_store = isinstance(sink, ZarrSink)
    if target.is_dir() and not is_store:
        raise OutputError(f"cannot write {target}: it is a folder")
    if is_store and target.exists() and not target.is_dir():
        raise OutputError(f"cannot write {target}: it is a file, and Zarr stores are folders")


def check_apart(targets: Iterable[Path], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write over what is being read.

    Args:
        targets: all that would be replaced or deleted: outputs, pictures, items, folders of rows.
        inputs: files, folders, archives, VRTs (their sources count) and names of GDAL's.

    Raises:
        OutputError: a target is one of the inputs, by whatever name, or a folder that holds one.
    """
    given = [os.fspath(path) for path in inputs]
    read = [path for path in {*given, *input_files(given)} if os.path.exists(path)]
    for target in targets:
        if not target.exists():
            continue
        inside = target.resolve() if target.is_dir() else None
        for path in read:
            if _same(target, path):
                raise OutputError(f"{target} is what is being read; give the output another name")
            if inside is not None and inside in Path(path).resolve().parents:
                raise OutputError(
                    f"{target} holds what is being read ({path}) and would be replaced; give the "
                    "output another name"
                )


def _same(target: Path, path: str) -> bool:
    """Whether both are one file. One that has just gone, as another run's rows do, is no other."""
    try:
        return os.path.samefile(target, path)
    except FileNotFoundError:
        return False


def check_suffix(target: Path) -> str:
    """The suffix that says what to write, in lower case.

    Raises:
        OutputError: it is none of `SUFFIXES`.
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(f"{suffix} ({what})" for suffix, what in SUFFIXES.items())
        raise OutputError(f"cannot write {target}: its suffix says nothing; known are {known}")
    return suffix


def write_output(
    rows: RowReader,
    info: MapInfo,
    target: Path,
    sink: Sink,
    *,
    folder: Path,
    height: int,
    width: int,
) -> None:
    """Write one layer's map in a scratch folder inside `folder`, then give it its own place.

    Args:
        folder: on the disk of `target`.
        height, width: of the scene in pixels.

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    with disk_errors(target), scratch_folder(folder) as scratch:
        finished = scratch / target.name
        sink.write(rows, info, finished, height=height, width=width)
        publish(finished, target)
