"""Samples from other people's files: the authors' HDF5 and WebDataset tars."""

import contextlib
import logging
import os
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, DataError, DeoError, RadiometryError, require
from deo.scene.doors import Door
from deo.scene.scene import Scene
from deo.scene.sources import RasterSource
from deo.scene.window import Window
from deo.sensors.evidence import Evidence
from deo.sensors.floats import Range, check_float_evidence
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.sensors.names import is_junk
from deo.sensors.registry import path_evidence
from deo.training.data.arrays import LARGEST_SAMPLE, own_dataset, read_npy
from deo.training.data.listing import say_left_out
from deo.training.data.reading import (
    JUDGED,
    FloatSize,
    float_sizes,
    is_display,
    judge_together,
    open_quietly,
)
from deo.training.data.stored import (
    Numbers,
    Stored,
    check_sample,
    digital_numbers,
    float_size,
    formula,
)

log = logging.getLogger(__name__)

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
DATASET = "images"
_OPEN_TARS = 8
_SUFFIXES = (".npy", ".tif", ".tiff")
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
    `bands` on the dataset (names in a list, or with commas between) overrides both. Attributes
    such as `processing_baseline`, `scale_factor`, `add_offset` and `_FillValue` are heeded.
    Every process opens its own handle once.

    Args:
        scale, offset: digital number = stored x scale + offset, above all evidence.

    Raises:
        DataError: not HDF5, no dataset `images`, or not four-dimensional.
        BandError: the channels cannot be told apart.
        RadiometryError: it cannot be told what the numbers mean.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        bands: BandSet = MODEL_BANDS,
        scale: float | None = None,
        offset: float | None = None,
    ) -> None:
        self.path, self.bands = Path(path), bands
        self._handle: Any = None
        self._process = -1
        dataset = self._dataset()
        if dataset.ndim != 4 or 0 in dataset.shape[1:]:
            raise DataError(
                f"{self.path}: `{DATASET}` has shape {dataset.shape}; wanted (N, C, H, W)"
            )
        self._shape = tuple(int(edge) for edge in dataset.shape)
        try:
            attributes = self._attributes(dataset)
            names = _names(attributes.get("bands"))
            order = band_order(self._shape[1], names, thirteen=AUTHORS_ORDER)
        except BandError as error:
            raise BandError(
                f"{self.path}: {error}; name them in the dataset's attribute `bands`"
            ) from error
        self._positions = bands.positions_in(order)
        self._warn_of_chunks(dataset)
        floating = dataset.dtype.kind == "f"
        try:
            self._numbers = Numbers.described(
                attributes, floating=floating, scale=scale, offset=offset
            ).beside(path_evidence(os.path.abspath(self.path)))
            judged = floating and not self._numbers.told
            self._floats = judge_together(self._sizes()) if judged else None
        except RadiometryError as error:
            raise RadiometryError(f"{self.path}: {error}") from error
        self.close()

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W) in digital numbers, 0 where invalid; uint8 or uint16."""
        return self.read(number).values

    def read(self, number: int) -> Stored:
        """Sample `number` and how its numbers were made.

        Raises:
            DataError: it cannot be read.
            RadiometryError: its numbers are not of the unit of the others.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        try:
            return self._numbers.storable(self._stored(number), self.bands, self._floats)
        except RadiometryError as error:
            raise RadiometryError(f"{self.path}: sample {number}: {error}") from error

    def _stored(self, number: int) -> NDArray[Any]:
        try:
            stored: NDArray[Any] = self._dataset()[number]
            return check_sample(stored[list(self._positions)])
        except Exception as error:  # a damaged file may raise anything in HDF5
            raise DataError(f"{self.path}: sample {number} cannot be read: {error}") from error

    def _sizes(self) -> list[FloatSize]:
        numbers = range(0, len(self), max(1, len(self) // JUDGED))
        nodata = self._numbers.nodata
        return [float_size(self._stored(number), self.bands.names, nodata) for number in numbers]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None, "_process": -1}

    def close(self) -> None:
        """Close this process's handle; the next read opens one again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    def _dataset(self) -> Any:
        try:
            return self._opened()
        except DeoError:
            raise
        except Exception as error:  # a damaged file may raise anything in HDF5
            raise DataError(f"{self.path} cannot be opened as HDF5: {error}") from error

    def _attributes(self, dataset: Any) -> dict[str, Any]:
        """Of the file, and above them those of the data set."""
        try:
            return {**dataset.file.attrs, **dataset.attrs}
        except Exception as error:  # same reason
            raise DataError(f"{self.path}: attributes cannot be read: {error}") from error

    def _opened(self) -> Any:
        if self._handle is None or self._process != os.getpid():  # handles do not survive a fork
            h5py = require("h5py", extra="train")
            self._handle, self._process = h5py.File(self.path, "r"), os.getpid()
        if self._handle.get(DATASET, getlink=True) is None:
            found = ", ".join(self._handle) or "nothing"
            raise DataError(
                f"{self.path} has no dataset `{DATASET}`; it holds {found}. Rename the dataset, "
                "or write shards from your own reader with deo.training.data.shards.write_shards"
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


def _names(attribute: Any) -> list[str] | None:
    """Band names of an attribute: text with commas, or an array of texts; bytes or str."""
    if attribute is None:
        return None
    parts = [
        part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)
        for part in np.asarray(attribute).ravel().tolist()
    ]
    return [name.strip() for part in parts for name in part.split(",") if name.strip()]


class TarStream:
    """WebDataset tars: one sample per member, `.npy` (C, H, W) or `.tif`.

    A `.tif` is read as the scene that it is. Floating-point numbers are of one unit in all members,
    which the size of the numbers in up to 64 of them tells when the first is read.

    The headers are read once. Samples are numbered as they lie in the tars, and `run_length`
    tells `Order` to visit them as a stream: runs of neighbours, tar after tar, shuffled within
    a buffer, so that reading stays sequential on disk while the order still depends on
    (seed, epoch) alone and can be resumed at any step.

    Thirteen channels without names are taken in ESA's order, ten as `MODEL_BANDS`.

    Args:
        scale, offset: digital number = stored x scale + offset, above all evidence.

    Raises:
        DataError: a tar is compressed or broken, or holds no sample.
    """

    def __init__(
        self,
        tars: Sequence[str | Path],
        *,
        bands: BandSet = MODEL_BANDS,
        buffer: int = 1024,
        scale: float | None = None,
        offset: float | None = None,
    ) -> None:
        self.bands, self.run_length = bands, buffer
        self._scale, self._offset = scale, offset
        self._members: list[tuple[Path, str, int, int]] = []
        self._files: dict[Path, int] = {}
        left: list[Path] = []
        for tar in map(Path, tars):
            for name, start, size in _members(tar):
                if name.lower().endswith(_SUFFIXES):
                    self._members.append((tar, name, start, size))
                else:
                    left.append(Path(name))
        say_left_out(Path(tars[0]).parent, left, because="being no .npy or .tif member of its tars")
        if not self._members:
            raise DataError(f"{len(tars)} tars from {tars[0]} hold no .npy or .tif member")

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W) in digital numbers, 0 where invalid; uint8 or uint16."""
        return self.read(number).values

    def read(self, number: int) -> Stored:
        """Sample `number` and how its numbers were made.

        Raises:
            DataError: it cannot be read.
            RadiometryError: its scale or offset cannot be told.
        """
        tar, name, _, _ = self._members[number]
        try:
            if _is_array(name):
                return self._array(number)
            return self._raster(number)
        except RadiometryError as error:
            raise RadiometryError(f"{name} in {tar}: {error}") from error
        except (DeoError, ValueError, OSError, EOFError) as error:
            raise DataError(f"{name} in {tar}: {error}") from error

    def _bytes(self, number: int) -> bytes:
        tar, _, offset, size = self._members[number]
        if tar not in self._files:
            if len(self._files) >= _OPEN_TARS:
                self.close()
            self._files[tar] = os.open(tar, os.O_RDONLY)
        return os.pread(self._files[tar], size, offset)

    def _stored(self, number: int) -> NDArray[Any]:
        """An array as stored, the bands asked for."""
        values = check_sample(read_npy(self._bytes(number), label="it"))
        order = band_order(len(values), None, thirteen=ESA_ORDER)
        return values[list(self.bands.positions_in(order))]

    def _array(self, number: int) -> Stored:
        tar, name, _, _ = self._members[number]
        values = self._stored(number)
        numbers = Numbers(
            evidence=path_evidence(f"{os.path.abspath(tar)}/{name}"),
            scale=self._scale,
            offset=self._offset,
        )
        judged = values.dtype.kind == "f" and not numbers.told
        return numbers.storable(values, self.bands, self._unit if judged else None)

    def _raster(self, number: int) -> Stored:
        with self._in_memory(number) as path, self._scene(path) as scene:
            whole = Window(row=0, col=0, height=scene.height, width=scene.width)
            values, valid = scene.read(whole, self.bands)
            stored: NDArray[Any] = digital_numbers(values, valid)
            if is_display(scene):
                stored = stored.astype(np.uint8)
            return Stored(stored, formula(scene.radiometry))

    def _scene(self, path: str) -> Scene:
        options = {"judge_floats": self._judge, "scale": self._scale, "offset": self._offset}
        try:
            return open_quietly(path, door=Door.MEMBER, **options)
        except BandError:
            source = RasterSource.open(path, door=Door.MEMBER)
            source.close()
            order = band_order(source.spectral, None, thirteen=ESA_ORDER)
            return open_quietly(path, door=Door.MEMBER, bands=order, **options)

    @contextlib.contextmanager
    def _in_memory(self, number: int) -> Iterator[str]:
        """A member as a path for GDAL; its names stay, since they may tell a baseline."""
        from rasterio import MemoryFile

        tar, name, _, _ = self._members[number]
        inside = PurePosixPath(name)
        folder = "/".join(part for part in (tar.stem, *inside.parent.parts) if part != "..")
        with MemoryFile(
            self._bytes(number), dirname=f"{uuid.uuid4().hex}/{folder}", filename=inside.name
        ) as file:
            yield str(file.name)

    def _judge(self, dtype: str, ranges: Mapping[str, Range]) -> Evidence:
        check_float_evidence(dtype, ranges, self._unit)
        return self._unit

    @cached_property
    def _unit(self) -> Evidence:
        """The unit of floating-point numbers, by their size in members from end to end."""
        step = max(1, len(self) // JUDGED)
        return judge_together([size for number in range(0, len(self), step)
                               for size in self._sizes(number)])  # fmt: skip

    def _sizes(self, number: int) -> list[FloatSize]:
        with contextlib.suppress(DeoError, ValueError, OSError, EOFError):  # said when it is read
            if not _is_array(self._members[number][1]):
                with self._in_memory(number) as path:
                    member = {"door": Door.MEMBER}
                    return float_sizes(path, **member) or float_sizes(
                        path, bands=ESA_ORDER, **member
                    )
            values = self._stored(number)
            if values.dtype.kind == "f":
                return [float_size(values, self.bands.names, None)]
        return []

    def close(self) -> None:
        """Close the tars; the next read opens them again."""
        for handle in self._files.values():
            os.close(handle)
        self._files = {}

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}


def _members(tar: Path) -> list[tuple[str, int, int]]:
    """Name, first byte and length of each file in a tar, but for what systems leave behind."""
    try:
        held = tar.stat().st_size
        with tarfile.open(tar, "r:") as opened:
            samples = [
                member
                for member in opened
                if member.isfile() and not any(map(is_junk, PurePosixPath(member.name).parts))
            ]
        for member in samples:
            if member.issparse() or member.size > LARGEST_SAMPLE:
                raise DataError(f"{member.name} in {tar} is sparse or above {LARGEST_SAMPLE} bytes")
            if member.offset_data + member.size > held:
                raise DataError(f"{member.name} in {tar} claims {member.size} bytes, cut short")
        return [(member.name, member.offset_data, member.size) for member in samples]
    except DataError:
        raise
    except Exception as error:  # a damaged header may raise anything in tarfile
        raise DataError(
            f"{tar} is not a readable uncompressed tar ({error}); gzip has to be undone first"
        ) from error


def _is_array(name: str) -> bool:
    return name.lower().endswith(".npy")
