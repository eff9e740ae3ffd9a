"""What floating-point numbers are, reflectance or digital numbers, told from their size."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from deo.errors import RadiometryError
from deo.sensors.evidence import CURE, PER_REFLECTANCE, Evidence

DARKEST = -PER_REFLECTANCE / 2
LARGEST_NUMBER = 100 * PER_REFLECTANCE
"""Digital numbers that nothing measured goes down or up to."""

_LARGEST_REFLECTANCE = 3.0
_SATURATION = 6.5536  # reflectance of the largest digital number, 65535, which glint may reach
_SMALLEST_NUMBERS = 150.0  # that the brightest digital numbers of a scene reach


class Range(NamedTuple):
    """The smallest, a high percentile and, where known, the largest of a band's valid numbers."""

    low: float
    high: float
    top: float = 0.0


def float_evidence(dtype: str, ranges: Mapping[str, Range]) -> Evidence:
    """What the size of floating-point numbers says.

    Args:
        ranges: of each band that holds numbers other than 0.

    Raises:
        RadiometryError: they are too large for reflectance and too small for digital numbers, or
            one in some bands and the other in others, or below all that can be measured.
    """
    if not ranges:
        return Evidence(
            fact=f"{dtype} without a valid number, taken as reflectance",
            scale=PER_REFLECTANCE,
            offset=0.0,
        )
    high = _highest(ranges)
    fact = f"{dtype} with a 99.9th percentile of {high:.4g}"
    small = [band for band, each in ranges.items() if each.high <= _LARGEST_REFLECTANCE]
    if _LARGEST_REFLECTANCE < high < _SMALLEST_NUMBERS:
        raise RadiometryError(
            f"{fact} is too large for reflectance and too small for reflectance x 10 000{CURE}"
        )
    reflectance = high <= _LARGEST_REFLECTANCE
    if small and not reflectance:
        raise RadiometryError(
            f"{fact} in digital numbers, but {', '.join(small)} "
            f"reach{'es' if len(small) == 1 else ''} no further than {_LARGEST_REFLECTANCE:g}, as "
            "reflectance does; store all bands in one unit"
        )
    _check_reach(dtype, ranges, reflectance=reflectance)
    if reflectance:
        return Evidence(fact=f"{fact}: reflectance", scale=PER_REFLECTANCE, offset=0.0)
    return Evidence(fact=f"{fact}: digital numbers", scale=1.0)


def _check_reach(dtype: str, ranges: Mapping[str, Range], *, reflectance: bool) -> None:
    low = min(each.low for each in ranges.values())
    if low <= (-_LARGEST_REFLECTANCE if reflectance else DARKEST):
        raise RadiometryError(_unmeasured(dtype, f"down to {low:.4g}", low))
    top = max(each.top for each in ranges.values())
    if top >= LARGEST_NUMBER:
        raise RadiometryError(_unmeasured(dtype, f"up to {top:.4g}", top))


def common_float_evidence(dtype: str, files: Sequence[Mapping[str, Range]]) -> Evidence:
    """What the size of the floating-point numbers of many files says of their common unit.

    A small image alone may be too dark to tell, but its neighbours can. The majority of the files
    decides whether it is reflectance; `check_float_evidence` refuses the odd ones out.

    Args:
        files: of each file, the ranges that `float_evidence` takes.

    Raises:
        RadiometryError: as `float_evidence`.
    """
    small = [ranges for ranges in files if ranges and _highest(ranges) <= _LARGEST_REFLECTANCE]
    large = [ranges for ranges in files if ranges and _highest(ranges) > _LARGEST_REFLECTANCE]
    every: dict[str, list[Range]] = {}
    for ranges in small if len(small) > len(large) else large:
        for band, measured in ranges.items():
            every.setdefault(band, []).append(measured)
    pooled = {
        band: Range(
            # a few files with unmarked missing pixels are named when they are read
            low=float(np.percentile([one.low for one in several], 5, method="higher")),
            high=max(one.high for one in several),
        )
        for band, several in every.items()
    }
    common = float_evidence(dtype, pooled)
    return replace(common, fact=f"{common.fact} (over {len(files)} images of the data set)")


def check_float_evidence(dtype: str, ranges: Mapping[str, Range], common: Evidence) -> None:
    """Refuse an image whose numbers cannot have the unit of its data set.

    Raises:
        RadiometryError: digital numbers among reflectance, the reverse, or numbers beyond all that
            can be measured.
    """
    if not ranges:
        return
    high = _highest(ranges)
    reflectance = common.scale == PER_REFLECTANCE
    wrong = high > _SATURATION if reflectance else 0 < high <= _LARGEST_REFLECTANCE
    if wrong:
        raise RadiometryError(
            f"{dtype} with a 99.9th percentile of {high:.4g} cannot be "
            f"{'reflectance' if reflectance else 'digital numbers'}, as the other images of the "
            f"data set are ({common.fact}); store all images in one unit"
        )
    _check_reach(dtype, ranges, reflectance=reflectance)


def _highest(ranges: Mapping[str, Range]) -> float:
    return max(each.high for each in ranges.values())


def _unmeasured(dtype: str, reach: str, number: float) -> str:
    return (
        f"{dtype} with numbers {reach}, which no measurement reaches; if they mark missing pixels, "
        f"declare them in the file: gdal_edit.py -a_nodata {number:g} FILE"
    )


def for_floats(facts: Sequence[Evidence], judged: Evidence) -> tuple[Evidence, ...]:
    """Facts about floating-point numbers, given what their size or GDAL's tags say (`judged`).

    Reflectance is computed with the offset of its product, so a baseline says nothing about it.
    """
    if judged.scale is None or judged.scale == 1:
        return (judged, *facts)
    stated = [
        item if not item.offset else replace(item, fact=f"{item.fact} (of the integers the "
        "reflectance was computed from; taken as applied)", offset=None)
        for item in facts
    ]  # fmt: skip
    return (judged, *stated)
