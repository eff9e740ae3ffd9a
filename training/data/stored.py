"""Stored numbers of an archive of samples, to the whole digital numbers that shards hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import DataError
from deo.sensors.evidence import Evidence, gdal_evidence
from deo.sensors.floats import Range, check_float_evidence, for_floats
from deo.sensors.radiometry import Radiometry, decide
from deo.sensors.registry import tag_evidence
from deo.training.data.float_units import FloatSize

_FLOAT_PERCENTILE = 99.9
_NODATA_NAMES = ("_fillvalue", "missing_value", "nodata")


class StoredSample(NamedTuple):
    """One sample (C, H, W) of uint8 or uint16, 0 where invalid, and how it was made."""

    values: NDArray[Any]
    formula: str


def formula(radiometry: Radiometry) -> str:
    """How stored numbers became digital numbers, in a few words."""
    return f"{radiometry}{' (nothing says otherwise)' if radiometry.assumed else ''}"


def digital_numbers(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Round to uint16 (0..65535); invalid pixels, shape (H, W), become 0 in every band."""
    # clipped first: a float outside the range of an integer type converts to anything
    rounded: NDArray[np.uint16] = np.rint(np.clip(np.nan_to_num(values), 0, 65535)).astype(
        np.uint16
    )
    rounded[:, ~valid] = 0
    return rounded


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """A copy in floating-point numbers that hold every stored one: nothing is rounded twice."""
    return values.astype(np.result_type(values.dtype, np.float32))


def check_sample(values: NDArray[Any]) -> NDArray[Any]:
    """A sample in this machine's byte order.

    Raises:
        DataError: it has another number of dimensions, or holds no real numbers.
    """
    if values.ndim != 3:
        raise DataError(f"shape {values.shape}; wanted (C, H, W)")
    if values.dtype.kind not in "uif":
        raise DataError(f"numbers of type {values.dtype}; wanted whole or floating-point ones")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def float_size(values: NDArray[Any], bands: Sequence[str], nodata: float | None) -> FloatSize:
    """The size of a sample's floating-point numbers, band by band."""
    seen = values[:, _valid(values, nodata)]
    ranges = {
        band: Range(float(plane.min()), float(np.percentile(plane, _FLOAT_PERCENTILE)))
        for band, plane in zip(bands, seen, strict=True)
        if plane.any()
    }
    return FloatSize(str(values.dtype), ranges)


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How an archive encodes its measurements as numbers.

    Args:
        evidence: what its metadata say, of all bands alike.
        nodata: the stored value that marks missing pixels.
        scale, offset: the caller's word, above all evidence; see `open_scene`.
    """

    evidence: tuple[Evidence, ...] = ()
    nodata: float | None = None
    scale: float | None = None
    offset: float | None = None

    @classmethod
    def described(
        cls,
        attributes: Mapping[str, Any],
        *,
        floating: bool,
        scale: float | None,
        offset: float | None,
    ) -> "Encoding":
        """From attributes as HDF5 and netCDF have them, baselines and scales by their usual names.

        Raises:
            RadiometryError: the unit of a scale cannot be told.
        """
        lower = {name.lower(): value for name, value in attributes.items()}
        evidence = gdal_evidence(
            _number(lower.get("scale_factor"), 1.0),
            _number(lower.get("add_offset"), 0.0),
            floating=floating,
            overruled=scale is not None and offset is not None,
        )
        missing = [lower[name] for name in _NODATA_NAMES if name in lower]
        return cls(
            evidence=(*evidence, *tag_evidence({key: str(text) for key, text in lower.items()})),
            nodata=_number(missing[0], np.nan) if missing else None,
            scale=scale,
            offset=offset,
        )

    def beside(self, evidence: Sequence[Evidence]) -> "Encoding":
        """The same with more evidence."""
        return replace(self, evidence=(*self.evidence, *evidence))

    @property
    def told(self) -> bool:
        """Whether something besides the size of floating-point numbers says their unit."""
        return self.scale is not None or any(item.scale is not None for item in self.evidence)

    def storable(
        self, values: NDArray[Any], bands: BandSet, floats: Evidence | None = None
    ) -> StoredSample:
        """A sample (C, H, W) as shards hold it.

        Args:
            floats: the unit of floating-point numbers, where nothing else tells it.

        Raises:
            RadiometryError: evidence is contradictory, or the numbers are not of that unit.
        """
        floating = values.dtype.kind == "f"
        evidence = self.evidence
        if floating and floats is not None:
            _check_unit(values, self.nodata, floats)
            evidence = for_floats(evidence, floats)
        radiometry = decide(bands, [evidence] * len(bands), scale=self.scale, offset=self.offset)
        return StoredSample(self._converted(values, radiometry, bands), formula(radiometry))

    def _converted(
        self, values: NDArray[Any], radiometry: Radiometry, bands: BandSet
    ) -> NDArray[Any]:
        # by far the usual case: nothing to compute, and one byte a value stays one byte
        plain = set(radiometry.scale) == {1.0} and set(radiometry.offset) == {0.0}
        if plain and self.nodata in (None, 0) and values.dtype in (np.uint8, np.uint16):
            return values
        valid = _valid(values, self.nodata)
        if radiometry.offset[0] < 0 and values.dtype.kind != "f":
            valid &= values.all(axis=0)  # no measurement of baseline 04.00 or later is stored as 0
        return digital_numbers(radiometry.apply(as_floats(values), bands), valid)


def _valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """(H, W), where every band holds a number."""
    valid = np.isfinite(values).all(axis=0)
    if nodata is not None and not np.isnan(nodata):
        valid &= (values != nodata).all(axis=0)
    return np.asarray(valid)


def _check_unit(values: NDArray[Any], nodata: float | None, unit: Evidence) -> None:
    seen = values[:, _valid(values, nodata)]
    if seen.any():
        high = float(np.percentile(seen, _FLOAT_PERCENTILE))
        everything = Range(float(seen.min()), high)
        check_float_evidence(str(values.dtype), {"all": everything}, unit)


def _number(value: Any, otherwise: float) -> float:
    """The number in an attribute, which may be an array of one."""
    try:
        return float(np.asarray(value).ravel()[0]) if value is not None else otherwise
    except (TypeError, ValueError, IndexError):
        return otherwise
