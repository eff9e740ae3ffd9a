"""Samples from other people's files: the authors' HDF5 and WebDataset tars."""

import logging
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from deo.bands import MODEL_BANDS, SENTINEL2, BandSet
from deo.errors import BandError, DataError, DeoError, require
from deo.raster.doors import check_whole, open_member
from deo.training.arrays import LARGEST_SAMPLE, own_dataset, read_npy

log = logging.getLogger(__name__)

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
DATASET = "images"
_OPEN_TARS = 8
ESA_ORDER = tuple(band.name for band in SENTINEL2)
AUTHORS_ORDER = ("B01", *MODEL_BANDS.names[:8], "B09", "B10", "B11", "B12")
"""The authors' 13 channels: red, green, blue stand in slots 1, 2, 3 (docs/data.md)."""


def band_order(count: int, named: Sequence[str] | None, *, thirteen: Sequence[str]) -> list[str]:
    """Names of the bands of a file with `count` channels.

    Args:
        named: names the file gives, if it does.
        thirteen: what 13 unnamed channels mean in this kind of file.

    Raises:
        BandError: `count` channels without names can mean several things.
    """
    if named:
        if len(named) != count:
            raise BandError(f"{len(named)} band names for {count} channels")
        return list(BandSet(named))
    known = {len(MODEL_BANDS): MODEL_BANDS.names, 13: tuple(thirteen)}
    if count not in known:
        raise BandError(
            f"{count} channels without names; wanted {len(MODEL_BANDS)} ({MODEL_BANDS}) or 13"
        )
    return list(known[count])


class Hdf5Samples:
    """One HDF5 file with one dataset `images` of shape (N, C, H, W).

    Ten channels are taken as `MODEL_BANDS`, thirteen as the authors' layout; an attribute
    `bands` on the dataset (comma-separated names) overrides both. Every process opens its own
    handle once.

    Raises:
        DataError: not HDF5, no dataset `images`, or not four-dimensional.
        BandError: the channels cannot be told apart.
    """

    def __init__(self, path: str | Path, *, bands: BandSet = MODEL_BANDS) -> None:
        self.path, self.bands = Path(path), bands
        self._handle: Any = None
        self._process = -1
        try:
            dataset = self._dataset()
            shape, named = dataset.shape, dataset.attrs.get("bands")
        except DeoError:
            raise
        except Exception as error:  # a damaged file may raise anything in HDF5
            raise DataError(f"{self.path} cannot be read as HDF5: {error}") from error
        if len(shape) != 4 or 0 in shape[1:]:
            raise DataError(f"{self.path}: `{DATASET}` has shape {shape}; wanted (N, C, H, W)")
        self._shape = tuple(int(edge) for edge in shape)
        names = [part.strip() for part in str(named).split(",")] if named is not None else None
        try:
            order = band_order(self._shape[1], names, thirteen=AUTHORS_ORDER)
        except BandError as error:
            raise BandError(
                f"{self.path}: {error}; name them in the dataset's attribute `bands`"
            ) from error
        self._positions = bands.positions_in(order)
        self._warn_of_chunks(dataset)
        self.close()

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W) in the file's own type."""
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        try:
            stored: NDArray[Any] = self._dataset()[number]
        except DeoError:
            raise
        except Exception as error:  # a damaged file may raise anything in HDF5
            raise DataError(f"{self.path}: sample {number} cannot be read: {error}") from error
        return stored[list(self._positions)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None, "_process": -1}

    def close(self) -> None:
        """Close this process's handle; the next read opens one again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    def _dataset(self) -> Any:
        if self._handle is None or self._process != os.getpid():  # handles do not survive a fork
            h5py = require("h5py", extra="train")
            try:
                self._handle, self._process = h5py.File(self.path, "r"), os.getpid()
            except Exception as error:  # a damaged file may raise anything in HDF5
                raise DataError(f"{self.path} cannot be opened as HDF5: {error}") from error
        if self._handle.get(DATASET, getlink=True) is None:
            found = ", ".join(self._handle) or "nothing"
            raise DataError(
                f"{self.path} has no dataset `{DATASET}`; it holds {found}. Rename the dataset, "
                "or write shards from your own reader with deo.training.shards.write_shards"
            )
        return own_dataset(self._handle, DATASET, sample_axes=1)

    def _warn_of_chunks(self, dataset: Any) -> None:
        chunks = dataset.chunks
        if chunks is None:
            return
        touched = int(
            np.prod(
                [-(-edge // chunk) for edge, chunk in zip(self._shape[1:], chunks[1:], strict=True)]
            )
        )
        read = touched * int(np.prod(chunks))
        waste = read / int(np.prod(self._shape[1:]))
        if waste > 2 or touched > 16:
            log.warning(  # one line, so that it stands out
                "%s: chunks of %s mean that one random sample reads %d chunks and %.0f times its "
                "own size%s. Training will wait. Convert it once: deo prepare %s -o shards",
                self.path,
                tuple(chunks),
                touched,
                waste,
                f", each decompressed ({dataset.compression})" if dataset.compression else "",
                self.path,
            )


class TarStream:
    """WebDataset tars: one sample per member, `.npy` (C, H, W) or `.tif`.

    The headers are read once. Samples are numbered as they lie in the tars, and `run_length`
    tells `Order` to visit them as a stream: runs of neighbours, tar after tar, shuffled within
    a buffer, so that reading stays sequential on disk while the order still depends on
    (seed, epoch) alone and can be resumed at any step.

    Thirteen channels without names are taken in ESA's order, ten as `MODEL_BANDS`.

    Raises:
        DataError: a tar is compressed or broken, or holds no sample.
    """

    def __init__(
        self, tars: Sequence[str | Path], *, bands: BandSet = MODEL_BANDS, buffer: int = 1024
    ) -> None:
        self.bands, self.run_length = bands, buffer
        self._members: list[tuple[Path, str, int, int]] = []
        self._files: dict[Path, int] = {}
        for tar in map(Path, tars):
            self._members += _members(tar)
        if not self._members:
            raise DataError(f"{len(tars)} tars from {tars[0]} hold no .npy or .tif member")

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W)."""
        tar, name, offset, size = self._members[number]
        if tar not in self._files:
            if len(self._files) >= _OPEN_TARS:
                self.close()
            self._files[tar] = os.open(tar, os.O_RDONLY)
        data = os.pread(self._files[tar], size, offset)
        try:
            values, named = _decode(name, data)
            order = band_order(values.shape[0], named, thirteen=ESA_ORDER)
            positions = self.bands.positions_in(order)
        except (DeoError, RasterioError, ValueError, OSError) as error:
            raise DataError(f"{name} in {tar}: {error}") from error
        return values[list(positions)]

    def close(self) -> None:
        """Close the tars; the next read opens them again."""
        for handle in self._files.values():
            os.close(handle)
        self._files = {}

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}


def _members(tar: Path) -> list[tuple[Path, str, int, int]]:
    try:
        held = tar.stat().st_size
        with tarfile.open(tar, "r:") as opened:
            samples = [
                member
                for member in opened
                if member.isfile() and member.name.lower().endswith((".npy", ".tif", ".tiff"))
            ]
        for member in samples:
            if member.issparse() or member.size > LARGEST_SAMPLE:
                raise DataError(f"{member.name} in {tar} is sparse or above {LARGEST_SAMPLE} bytes")
            if member.offset_data + member.size > held:
                raise DataError(f"{member.name} in {tar} claims {member.size} bytes, cut short")
        return [(tar, member.name, member.offset_data, member.size) for member in samples]
    except DataError:
        raise
    except Exception as error:  # a damaged header may raise anything in tarfile
        raise DataError(
            f"{tar} is not a readable uncompressed tar ({error}); gzip has to be undone first"
        ) from error


def _decode(name: str, data: bytes) -> tuple[NDArray[Any], list[str] | None]:
    if name.lower().endswith(".npy"):
        values = read_npy(data, label="it")
        if values.ndim != 3:
            raise DataError(f"shape {values.shape}; wanted (C, H, W)")
        return values, None
    with open_member(data, name=name) as raster:
        check_whole(raster, "it")
        names = [text for text in raster.descriptions if text]
        return raster.read(), names if len(names) == raster.count else None
