"""Where samples come from, behind one protocol of two methods.

A sample is an array (C, H, W) of uint8, uint16 or float32, in the order of `MODEL_BANDS` unless
other bands are asked for: red, green, blue (aerial 0..255 or Sentinel-2 digital numbers), then
the other Sentinel-2 bands in digital numbers.
"""

import importlib
import logging
import re
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import DataError
from deo.scene.formats import RASTER_SUFFIXES
from deo.training.data.cuts import SceneFolder, find_scenes
from deo.training.data.hdf5 import HDF5_SUFFIXES, Hdf5Samples
from deo.training.data.listing import (
    files_below,
    files_in,
    say_left_out,
)
from deo.training.data.shard_index import INDEX_NAME
from deo.training.data.shards import Shards
from deo.training.data.tars import TarStream

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
        DataError: it holds nothing that can be read; the message says what it does hold.
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
            say_left_out(path, left, because="as only the tars in this folder are read")
        return TarStream(tars, bands=bands, scale=scale, offset=offset)
    if find_scenes(path):
        return SceneFolder(path, bands=bands, size=size, valid=valid)
    if path.is_file():
        raise DataError(
            f"{path} is of a kind that cannot be read; give an HDF5 file, a .tar or a folder"
        )
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
