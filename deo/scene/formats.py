"""Which formats a file may be opened as, depending on how it comes in.

GDAL opens a file by its content, not by its name: a `.tif` may be a VRT over `/etc/passwd`, or
the address of a map service. So each door, a way in which files come in, has its own short list
of drivers, and every file that a file names is opened by the same rule before GDAL follows it.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from deo.errors import SceneError
from deo.scene.gdal import PLACELESS, gdal, gdal_path, is_remote
from deo.scene.vrt import LARGEST_VRT, VrtSource, vrt_sources

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".img")
"""Of the files in a folder, those that are taken for rasters, in upper or lower case."""

LARGEST_BLOCK = 512 * 2**20
"""Bytes that one stored block may unpack to; GDAL has to hold it whole."""

LARGEST_WHOLE = 2**31
"""Bytes of a raster that is read at once, as the samples of data sets are."""

SOURCES_VARIABLE = "DEO_VRT_SOURCES"
"""Environment variable: folders and addresses, with blanks between, that VRTs may read below."""

_DEEPEST = 8  # VRTs of VRTs
_SIDECARS = (".ovr", ".OVR", ".msk", ".MSK")
_SCHEME = re.compile(r"((zip|tar|gzip)(\+\w+)?|file|https?|s3|gs|az|oss|ftp)://")
_PREFIX = re.compile(r"\w{2,}:")  # NETCDF:"x.nc":band, GTIFF_DIR:2:x.tif, vrt://x.tif
_GEOTIFF = ("GTiff",)
_JP2 = ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JPEG2000", "JP2MrSID", "JP2Lura")
_PICTURES = {".png": ("PNG",), ".jpg": ("JPEG",), ".jpeg": ("JPEG",)}
_ERDAS = ("HFA", "ENVI")


class Door(Enum):
    """How a raster comes in, which decides what it may be."""

    NAMED = "a path or address that the user gives"
    FOUND = "a file in a folder that the user gives"
    CHIP = "a file of a data set for training or evaluation"
    MEMBER = "a member of an archive"
    FEATURES = "a map that this package writes"

    def drivers(self, path: str) -> tuple[str, ...]:
        """GDAL's drivers for a file of this name."""
        suffix = os.path.splitext(path)[1].lower()
        if self is Door.FEATURES:
            return _GEOTIFF
        if self is Door.MEMBER:
            return _GEOTIFF + _JP2
        if self is not Door.CHIP and suffix == ".vrt":
            return ("VRT",)
        if self is not Door.CHIP and suffix == ".img":
            return _ERDAS
        return _GEOTIFF + _JP2 + _PICTURES.get(suffix, ())


def open_raster(path: str | os.PathLike[str], *, door: Door) -> Any:
    """Open a raster for reading, as rasterio does, by the drivers of its door alone.

    Side-cars of local files (`.ovr`, `.msk`) are held to the same rule; those of remote files
    and inside archives are not looked at.

    Raises:
        SceneError: it is no raster that this door lets in, or it names files that are none.
    """
    name = os.fspath(path)
    return _open(name, door.drivers(name), _Way(door=door))


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def _read(location: str, drivers: Sequence[str]) -> Any:
    # rasterio.open takes one driver; the class that it makes takes several
    return DatasetReader(location, driver=list(drivers), sharing=False)


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a file was reached.

    Args:
        above: real paths of the files that name it, the outermost first.
        checked: real paths of all files named so far, each of which is checked once.
    """

    door: Door
    above: tuple[str, ...] = ()
    checked: set[str] = field(default_factory=set)

    def follow(self, local: str, named: str, drivers: Sequence[str]) -> None:
        """Check that `named`, which the file `local` leads GDAL to, may be opened."""
        real = os.path.realpath(named)
        above = (*self.above, os.path.realpath(local))
        if real in above:
            raise SceneError(f"{local} names itself as one of its sources")
        if len(above) > _DEEPEST:
            raise SceneError(f"{above[0]} names files that name files, more than {_DEEPEST} deep")
        if real not in self.checked:
            self.checked.add(real)
            _open(named, drivers, replace(self, above=above)).close()


def _open(path: str, drivers: Sequence[str], way: _Way) -> Any:
    _check_name(path)
    location = gdal_path(path)
    local = _local_file(path)
    # a list of a folder of thousands of chips costs more than asking for four names
    listing = "EMPTY_DIR" if local is None else "TRUE"
    if local is not None:
        _check_local(path, local, way)
    if drivers == ("VRT",):
        _check_vrt(path, local, way)
    with (
        gdal(path, "open it as a raster", GDAL_DISABLE_READDIR_ON_OPEN=listing),
        PLACELESS,
    ):
        try:
            dataset = _read(location, drivers)
        except RasterioIOError as error:
            if "not recognized" not in str(error):
                raise
            raise SceneError(_unreadable(path, way.door)) from error
        try:
            _check_opened(dataset, path)
            if dataset.driver == "HFA":
                _check_beside(dataset, path)
        except BaseException:
            dataset.close()
            raise
        return dataset


def _unreadable(path: str, door: Door) -> str:
    wanted = {
        Door.FEATURES: "a GeoTIFF is wanted",
        Door.MEMBER: "GeoTIFF or JPEG 2000 is wanted",
        Door.CHIP: "GeoTIFF, JPEG 2000, or PNG and JPEG by those names are wanted",
    }.get(door, "GeoTIFF, COG, JPEG 2000, or a VRT whose name ends with .vrt is wanted")
    return (
        f"{path} cannot be opened as a raster: its content is in none of the formats read here; "
        f"{wanted}. Where you trust the file, convert it: gdal_translate -of COG IN OUT.tif"
    )


def _check_name(path: str) -> None:
    if _PREFIX.match(path) and not _SCHEME.match(path):
        raise SceneError(
            f"{path} begins with the name of a GDAL driver; parts of files are not read by "
            f"such names. Write the part you mean to a file of its own: "
            f"gdal_translate -of COG {path!r} part.tif"
        )


def _local_file(path: str) -> str | None:
    """Where a plain local file lies; None for what is remote or inside an archive."""
    path = path.removeprefix("file://")
    if is_remote(path) or path.startswith("/vsi") or _SCHEME.match(path):
        return None
    return path


def _check_local(path: str, local: str, way: _Way) -> None:
    """Refuse what is not a regular file, and side-cars that are no rasters."""
    try:
        mode = os.stat(local).st_mode
    except (OSError, ValueError):
        return  # GDAL says what is wrong
    if not stat.S_ISREG(mode):
        raise SceneError(f"{path} is not a regular file; give a raster file")
    for ending in _SIDECARS:
        if os.path.exists(local + ending):
            way.follow(local, local + ending, _GEOTIFF)
    for aux in (f"{local}.aux", f"{os.path.splitext(local)[0]}.aux"):
        if os.path.isfile(aux):
            with open(aux, "rb") as file:
                if file.read(15) == b"EHFA_HEADER_TAG":
                    raise SceneError(f"{aux} may name any file; move it away from {path}")


def check_whole(dataset: Any, label: str) -> None:
    """Refuse to read a raster at once that would take more memory than any sample.

    Raises:
        SceneError: it has more than `LARGEST_WHOLE` bytes of pixels.
    """
    size = (
        dataset.height * dataset.width * sum(np.dtype(dtype).itemsize for dtype in dataset.dtypes)
    )
    if size > LARGEST_WHOLE:
        raise SceneError(
            f"{label} has {dataset.count} bands of {dataset.height} x {dataset.width} pixels, "
            f"{size / 2**30:.1f} GiB; a sample has at most {LARGEST_WHOLE >> 30} GiB. Cut it first"
        )


def _check_opened(dataset: Any, path: str) -> None:
    """Refuse overviews in other files, which tags of a GeoTIFF can name, and unbounded blocks."""
    elsewhere = dataset.get_tag_item("OVERVIEW_FILE", "OVERVIEWS")
    if elsewhere is not None:
        raise SceneError(
            f"{path} says that its overviews are in {elsewhere[:80]}; only its own, or those in "
            f"a file of the same name with .ovr added, are read. Make a plain copy: "
            f"gdal_translate -of COG"
        )
    for (height, width), dtype in zip(dataset.block_shapes, dataset.dtypes, strict=True):
        size = height * width * np.dtype(dtype).itemsize
        if size * dataset.count > LARGEST_BLOCK and dataset.profile.get("interleave") == "pixel":
            size *= dataset.count
        if size > LARGEST_BLOCK:
            raise SceneError(
                f"{path} stores {height} x {width} pixels in one block of {size / 2**30:.1f} GiB; "
                f"rewrite it tiled: gdal_translate -of COG {path} tiled.tif"
            )


def _check_beside(dataset: Any, path: str) -> None:
    """Refuse an Erdas file whose pixels lie in a file elsewhere."""
    folder = Path(path).absolute().parent
    for file in dataset.files:
        if Path(file).absolute().parent != folder:
            raise SceneError(f"{path} keeps pixels in {file}, which does not lie beside it")


def _check_vrt(path: str, local: str | None, way: _Way) -> None:
    """Refuse a VRT unless all that it reads are rasters that may be read through it."""
    if local is None:
        raise SceneError(
            f"{path}: a VRT is read from a local folder only; download it, or make a GeoTIFF of "
            f"it: gdal_translate -of COG {gdal_path(path)} scene.tif"
        )
    try:
        with open(local, "rb") as file:
            text = file.read(LARGEST_VRT + 1).decode()
    except (OSError, ValueError) as error:
        raise SceneError(f"{path} cannot be read as a VRT: {error}") from error
    if len(text) > LARGEST_VRT:
        raise SceneError(
            f"{path} has more than {LARGEST_VRT >> 20} MiB; no ordinary VRT is that large"
        )
    for source in vrt_sources(text, path):
        name = _permitted(source, path, local, way.door)
        if name is not None:
            # GDAL will open it by its content, so by formats that no other driver takes first
            drivers = ("VRT",) if name.lower().endswith(".vrt") else _GEOTIFF + _JP2
            way.follow(local, name, drivers)


def _permitted(source: VrtSource, path: str, local: str, door: Door) -> str | None:
    """The local file that a VRT's source is, None for one that the user allowed by address.

    Raises:
        SceneError: the source may not be read through this VRT.
    """
    folder = os.path.dirname(os.path.abspath(local))
    beside = os.path.join(folder, source.name) if source.relative else source.name
    name, parts = source.name, source.name.split("/")
    allowed = os.environ.get(SOURCES_VARIABLE, "").split()
    if ".." not in parts and any(
        beside.startswith(gdal_path(place).rstrip("/") + "/") for place in allowed
    ):
        return None if beside.startswith("/vsi") else beside
    if name.startswith(("/vsi", "<")) or _PREFIX.match(name) or "://" in name:
        raise SceneError(
            f"{path} reads {name[:120]}, which is no local file; where you trust it, set "
            f"{SOURCES_VARIABLE} to the folder or address that it may read below"
        )
    if door is Door.FOUND and (".." in parts or not beside.startswith(f"{folder}/")):
        raise SceneError(
            f"{path} was found in a folder and reads {name[:120]} outside that folder; give the "
            f"VRT itself, or set {SOURCES_VARIABLE} to the folder that it may read below"
        )
    return beside
