"""Samples from WebDataset tars: one sample per member, read in place."""

import contextlib
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
from deo.errors import BandError, DataError, DeoError, RadiometryError
from deo.files.junk import is_junk
from deo.scene.formats import Door
from deo.scene.raster import RasterSource
from deo.scene.scene import Scene
from deo.sensors.evidence import Evidence
from deo.sensors.floats import Range, check_float_evidence
from deo.sensors.registry import path_evidence
from deo.training.data.arrays import LARGEST_SAMPLE, read_npy
from deo.training.data.channels import ESA_ORDER, band_order
from deo.training.data.float_units import JUDGED, FloatSize, float_sizes, judge_together
from deo.training.data.listing import say_left_out
from deo.training.data.reading import is_display, open_quietly
from deo.training.data.stored import (
    Encoding,
    StoredSample,
    check_sample,
    digital_numbers,
    float_size,
    formula,
)

_OPEN_TARS = 8
_SUFFIXES = (".npy", ".tif", ".tiff")


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
        say_left_out(
            Path(tars[0]).parent, left, because="as only .npy and .tif members of tars are read"
        )
        if not self._members:
            raise DataError(f"{len(tars)} tars from {tars[0]} hold no .npy or .tif member")

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W) in digital numbers, 0 where invalid; uint8 or uint16."""
        return self.read(number).values

    def read(self, number: int) -> StoredSample:
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
        # no file position is shared: a handle that a fork has copied can be read from both sides
        return os.pread(self._files[tar], size, offset)

    def _stored(self, number: int) -> NDArray[Any]:
        """An array as stored, the bands asked for."""
        values = check_sample(read_npy(self._bytes(number), label="it"))
        order = band_order(len(values), None, thirteen=ESA_ORDER)
        return values[list(self.bands.positions_in(order))]

    def _array(self, number: int) -> StoredSample:
        tar, name, _, _ = self._members[number]
        values = self._stored(number)
        encoding = Encoding(
            evidence=path_evidence(f"{os.path.abspath(tar)}/{name}"),
            scale=self._scale,
            offset=self._offset,
        )
        judged = values.dtype.kind == "f" and not encoding.told
        return encoding.storable(values, self.bands, self._unit if judged else None)

    def _raster(self, number: int) -> StoredSample:
        with self._in_memory(number) as path, self._scene(path) as scene:
            whole = scene.whole
            values, valid = scene.read(whole, self.bands)
            stored: NDArray[Any] = digital_numbers(values, valid)
            if is_display(scene):
                stored = stored.astype(np.uint8)
            return StoredSample(stored, formula(scene.radiometry))

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
        with tarfile.open(tar, "r:") as opened:  # a compressed tar could not be read in place
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
