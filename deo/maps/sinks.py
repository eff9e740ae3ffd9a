"""Where results go, chosen by the suffix of the target: COG, GeoParquet or Zarr."""

import os
from collections.abc import Iterable
from pathlib import Path

from deo.errors import ConfigError, OutputError
from deo.files.disk import Room, check_folder, disk_errors, publish, scratch_folder
from deo.maps import cog, geoparquet, zarr_store
from deo.maps.metadata import MapInfo
from deo.maps.quantise import DTYPES
from deo.maps.spool import RowReader, Shape
from deo.scene.inputs import input_files

SUFFIXES = {
    ".tif": "cloud-optimised GeoTIFF",
    ".tiff": "cloud-optimised GeoTIFF",
    ".parquet": "GeoParquet of chip embeddings",
    ".zarr": "Zarr version 3",
}
DEFAULT_CHIP = 224


def check_target(target: Path, info: MapInfo, *, chip: int = DEFAULT_CHIP) -> None:
    """Refuse before anything is computed what could not be written afterwards.

    Raises:
        OutputError: an unknown suffix, or a place that cannot be written to.
        ConfigError: an unknown data type, or chips that do not fit the layer.
        MissingExtraError: the format needs an extra of `deo` that is not installed.
    """
    suffix = check_suffix(target)
    if info.dtype not in DTYPES:
        raise ConfigError(f"data type {info.dtype!r} is none of {', '.join(DTYPES)}; pick one")
    if suffix == ".parquet":
        geoparquet.check(info, chip)
    elif suffix == ".zarr":
        zarr_store.check()
    check_folder(target)
    if target.is_dir() and suffix != ".zarr":
        raise OutputError(f"cannot write {target}: it is a folder")
    if suffix == ".zarr" and target.exists() and not target.is_dir():
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
            if os.path.samefile(target, path):
                raise OutputError(f"{target} is what is being read; give the output another name")
            if inside is not None and inside in Path(path).resolve().parents:
                raise OutputError(
                    f"{target} holds what is being read ({path}) and would be replaced; give the "
                    "output another name"
                )


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


def existing_tags(target: Path) -> dict[str, str] | None:
    """The `DEO_` tags of an output that is there, or None when it is none of ours."""
    suffix = check_suffix(target)
    if suffix == ".parquet":
        return geoparquet.read_tags(target)
    return zarr_store.read_tags(target) if suffix == ".zarr" else cog.read_tags(target)


def damage(target: Path) -> str | None:
    """What an output that is there lacks, where it is ours or may be; None for a whole one."""
    suffix = check_suffix(target)
    if suffix == ".parquet":
        return geoparquet.damage(target)
    if suffix == ".zarr":
        return zarr_store.damage(target) if target.is_dir() else None
    return cog.damage(target) if target.is_file() else None


def room(target: Path, shape: Shape, info: MapInfo, *, chip: int = DEFAULT_CHIP) -> Room:
    """Bytes that writing one layer's map takes beside its rows."""
    suffix = check_suffix(target)
    if suffix == ".parquet":
        return geoparquet.room(shape, info.dtype, cells=chip // info.stride)
    if suffix == ".zarr":
        return zarr_store.room(shape, info.dtype)
    return cog.room(shape, info.dtype)


def write_output(
    rows: RowReader,
    info: MapInfo,
    target: Path,
    *,
    folder: Path,
    height: int,
    width: int,
    chip: int = DEFAULT_CHIP,
) -> None:
    """Write one layer's map in a scratch folder inside `folder`, then give it its own place.

    Args:
        folder: on the disk of `target`.
        height, width: of the scene in pixels.
        chip: side of GeoParquet's chips in pixels.

    Raises:
        OutputError: the disk refuses, or the values do not fit the data type.
    """
    suffix = check_suffix(target)
    with disk_errors(target), scratch_folder(folder) as scratch:
        finished = scratch / target.name
        if suffix == ".parquet":
            geoparquet.write_geoparquet(rows, info, finished, chip=chip, height=height, width=width)
        elif suffix == ".zarr":
            zarr_store.write_zarr(rows, info, finished)
        else:
            cog.write_cog(rows, info, finished, scratch / f".{target.name}")
        publish(finished, target)
