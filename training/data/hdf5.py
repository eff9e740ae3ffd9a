"""Samples from the authors' HDF5 files."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError, DataError, DeoError, RadiometryError, require
from deo.sensors.registry import path_evidence
from deo.training.data.arrays import own_dataset
from deo.training.data.channels import AUTHORS_ORDER, band_order
from deo.training.data.float_units import JUDGED, FloatSize, judge_together
from deo.training.data.stored import Encoding, StoredSample, check_sample, float_size

log = logging.getLogger(__name__)

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
DATASET = "images"


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
            self._encoding = Encoding.described(
                attributes, floating=floating, scale=scale, offset=offset
            ).beside(path_evidence(os.path.abspath(self.path)))
            judged = floating and not self._encoding.told
            self._floats = judge_together(self._sizes()) if judged else None
        except RadiometryError as error:
            raise RadiometryError(f"{self.path}: {error}") from error
        self.close()  # HDF5 handles do not survive a fork, and workers are forked after this

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Sample `number`: (C, H, W) in digital numbers, 0 where invalid; uint8 or uint16."""
        return self.read(number).values

    def read(self, number: int) -> StoredSample:
        """Sample `number` and how its numbers were made.

        Raises:
            DataError: it cannot be read.
            RadiometryError: its numbers are not of the unit of the others.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        try:
            return self._encoding.storable(self._stored(number), self.bands, self._floats)
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
        nodata = self._encoding.nodata
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
            datasets = ", ".join(self._handle) or "nothing"
            raise DataError(
                f"{self.path} has no dataset `{DATASET}`; it holds {datasets}. Rename the dataset, "
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
        read = touched * int(np.prod(chunks))  # HDF5 reads and decompresses whole chunks
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
