"""Facts about stored numbers, whichever sensor they come from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deo.errors import RadiometryError

PER_REFLECTANCE = 10_000.0
"""Digital numbers on the pretraining scale per unit of reflectance."""

CURE = "; say what holds with --scale and --offset (digital number = stored x scale + offset)"
"""How messages end where the caller's word would settle the matter."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One fact about stored numbers.

    Args:
        fact: what was found and where, for people.
        scale, offset: what it says of digital number = stored x scale + offset; None: nothing.
        applied: it says that an offset which other metadata advertise is in the pixels already.
    """

    fact: str
    scale: float | None = None
    offset: float | None = None
    applied: bool = False


def packed_evidence(
    tags: Mapping[str, str], *, floating: bool, overruled: bool = False
) -> tuple[Evidence, ...]:
    """What the attributes `scale_factor` and `add_offset` (CF, netCDF) say where tags keep them.

    As `gdal_evidence`, from the tags of a dataset and a band, in any case.
    """
    said = {}
    for key, value in tags.items():
        name = key.lower().removeprefix("ref_")  # as in HLS
        number = finite_number(value)
        if name in ("scale_factor", "add_offset") and number is not None:
            said[name] = number
    scale, offset = said.get("scale_factor", 1.0), said.get("add_offset", 0.0)
    return gdal_evidence(
        scale,
        offset,
        floating=floating,
        overruled=overruled,
        source="tags scale_factor, add_offset:",
    )


def finite_number(text: str) -> float | None:
    """The number that a text spells, None where it spells none or one that is not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def gdal_evidence(
    scale: float,
    offset: float,
    *,
    floating: bool,
    overruled: bool = False,
    source: str = "GDAL",
) -> tuple[Evidence, ...]:
    """What GDAL's scale and offset of a band say (physical value = stored x scale + offset).

    A small scale gives reflectance. Scale 1 with an offset of a hundred or more is in digital
    numbers; scale 1 with a small offset is reflectance when the numbers are floating-point.

    Args:
        floating: the stored numbers are floating-point.
        overruled: the caller gives both numbers, so that unusable ones do not matter.
        source: who says so, for people.

    Raises:
        RadiometryError: the unit cannot be told.
    """
    if (scale, offset) == (1.0, 0.0):
        return ()
    fact = f"{source} scale {scale:g}, offset {offset:g}"
    if scale == 1 and abs(offset) >= 100:
        return (Evidence(fact=f"{fact} (digital numbers)", scale=1.0, offset=offset),)
    reflectance = 0 < scale <= 0.005 or (scale == 1 and floating)
    if reflectance and abs(offset) <= 1:
        return (
            Evidence(
                fact=f"{fact} (reflectance)",
                scale=round(scale * PER_REFLECTANCE, 9),
                offset=round(offset * PER_REFLECTANCE, 6),
            ),
        )
    if overruled:
        return (Evidence(fact=f"{fact} (no unit known; overruled)"),)
    raise RadiometryError(
        f"{fact} gives neither reflectance (0.0001 and -0.1, say) nor digital numbers "
        f"(1 and -1000, say){CURE}"
    )
