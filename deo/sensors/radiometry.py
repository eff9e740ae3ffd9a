"""From stored numbers to the scale the models were pretrained on, decided from evidence.

That scale is Sentinel-2 digital numbers before processing baseline 04.00: reflectance x 10 000
with no offset. Newer ESA products store 1000 more. Whether a file does is told by its metadata,
never by its date, since old scenes are reprocessed with new baselines.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import RadiometryError

PER_REFLECTANCE = 10_000.0
"""Digital numbers on the pretraining scale per unit of reflectance."""

BASELINE_OFFSET = -1000.0
"""What baselines from 04.00 on say has to be added to stored digital numbers."""

DARKEST = -PER_REFLECTANCE / 2
LARGEST_NUMBER = 100 * PER_REFLECTANCE
"""Digital numbers that nothing measured goes down or up to."""

_LARGEST_REFLECTANCE = 3.0
_SATURATION = 6.5536  # reflectance of the largest digital number, 65535, which glint may reach
_SMALLEST_NUMBERS = 150.0  # that the brightest digital numbers of a scene reach

_FIRST_WITH_OFFSET = 4.0
_UNKNOWN_BASELINE = 99.0  # N9999 marks products of test or local processors
_BASELINE = re.compile(r"\d{2}\.\d{2}")
_PRODUCT = re.compile(r"S2[A-D]_MSI(?:L1C|L2A)_\d{8}T\d{6}_N(\d{4})_R\d{3}_T\w{5}_\d{8}T\d{6}")
# paths in the public archives, and the names of their items, e.g. S2A_36QWD_20200701_0_L2A
_HARMONISED = re.compile(
    r"(^|[/.])sentinel-cogs([/.]|$)|/sentinel-s2-l2a-cogs/|S2[A-D]_\d{1,2}[A-Z]{3}_\d{8}_\d+_L2A"
)
# archives whose makers took the offset of their sources away; tags of those may live on
_RESCALED = re.compile(r"HLS[._]?S30|S2(?:_SR|_TOA)?_HARMONIZED", re.IGNORECASE)
_COLLECTION_1 = re.compile(r"/sentinel-2-c1-l2a/|S2[A-D]_T\d{2}[A-Z]{3}_\d{8}T\d{6}_L2A")
CURE = "; say what holds with --scale and --offset (digital number = stored x scale + offset)"
"""How messages end that the caller's word would settle."""


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


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """The decision for each band: digital number = stored x scale + offset.

    Args:
        bands: the bands, in the order of the other fields.
        scale, offset: one number per band; the result is on the pretraining scale.
        evidence: why, for people.
        assumed: there was no evidence.
    """

    bands: BandSet
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    evidence: tuple[str, ...]
    assumed: bool = False

    def __post_init__(self) -> None:
        if not len(self.bands) == len(self.scale) == len(self.offset):
            raise RadiometryError(
                f"{len(self.bands)} bands with {len(self.scale)} scales and "
                f"{len(self.offset)} offsets; one of each per band is needed"
            )
        for scale, offset in zip(self.scale, self.offset, strict=True):
            if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0):
                raise RadiometryError(
                    f"scale {scale:g} with offset {offset:g} is unusable: the scale has to be "
                    f"above 0 and both finite"
                )

    def apply(self, values: NDArray[np.float32], bands: BandSet) -> NDArray[np.float32]:
        """Bring stored numbers (C, H, W) of `bands` to the pretraining scale, in place."""
        for plane, band in zip(values, bands.positions_in(self.bands.names), strict=True):
            if self.scale[band] != 1:
                np.multiply(plane, np.float32(self.scale[band]), out=plane)
            if self.offset[band] != 0:
                np.add(plane, np.float32(self.offset[band]), out=plane)
        return values

    def record(self) -> dict[str, Any]:
        """The decision as JSON-able values, for the metadata of outputs."""
        return {
            "formula": "digital number = stored x scale + offset",
            "bands": list(self.bands),
            "scale": list(self.scale),
            "offset": list(self.offset),
            "evidence": list(self.evidence),
            "assumed": self.assumed,
        }

    def __str__(self) -> str:
        pairs = dict.fromkeys(zip(self.scale, self.offset, strict=True))
        if len(pairs) == 1:
            scale, offset = next(iter(pairs))
            return f"stored x {scale:g} {'-' if offset < 0 else '+'} {abs(offset):g}"
        parts = zip(self.bands, self.scale, self.offset, strict=True)
        return ", ".join(
            f"{band}: stored x {scale:g} {'-' if offset < 0 else '+'} {abs(offset):g}"
            for band, scale, offset in parts
        )


def baseline_evidence(baseline: str, *, source: str) -> Evidence:
    """What a processing baseline (`05.09`, `N0509`, `4.0`) says of the offset.

    Args:
        source: where it was found, e.g. `tag s2:processing_baseline`.
    """
    text = baseline.strip().upper().removeprefix("N")
    match = re.fullmatch(r"(\d{2})(\d{2})|(\d{1,2})\.(\d{1,2})", text)
    if match is None:
        return Evidence(fact=f"{source} is {baseline!r}, which is no processing baseline")
    number = float(f"{match[1] or match[3]}.{match[2] or match[4]}")
    label = f"{source}: processing baseline {number:05.2f}"
    if number >= _UNKNOWN_BASELINE:
        return Evidence(fact=f"{label} (not a public one: says nothing)")
    if number >= _FIRST_WITH_OFFSET:
        return Evidence(
            fact=f"{label}, from 04.00 on the offset is {BASELINE_OFFSET:g}",
            offset=BASELINE_OFFSET,
        )
    return Evidence(fact=f"{label}, before 04.00 there is no offset", offset=0.0)


def path_evidence(path: str) -> tuple[Evidence, ...]:
    """What the names in a path or URL say: the product's name, or the public archive it is in."""
    found = [
        baseline_evidence(baseline, source=f"product name {name}")
        for name, baseline in dict.fromkeys(
            (match[0], match[1]) for match in _PRODUCT.finditer(path)
        )
    ]
    if _HARMONISED.search(path):
        found.append(
            Evidence(
                fact="path of the sentinel-cogs archive, whose pixels have the offset applied "
                "whatever their metadata advertise",
                offset=0.0,
                applied=True,
            )
        )
    elif _COLLECTION_1.search(path):
        found.append(
            Evidence(
                fact=f"path of the Collection-1 archive (baseline 05.00 or later), offset "
                f"{BASELINE_OFFSET:g}",
                offset=BASELINE_OFFSET,
            )
        )
    return tuple(found)


def tag_evidence(tags: Mapping[str, str]) -> tuple[Evidence, ...]:
    """What a dataset's or a band's metadata tags say (STAC, ESA and GDAL spellings, any case)."""
    found: list[Evidence] = []
    for key, value in tags.items():
        name = key.lower().removeprefix("s2:").removeprefix("earthsearch:")
        # STAC's processing:version is of any software; Sentinel-2's baselines have four digits
        generic = name == "processing:version" and _BASELINE.fullmatch(value.strip())
        if name == "processing_baseline" or generic:
            found.append(baseline_evidence(value, source=f"tag {key}"))
        elif name == "boa_offset_applied" and value.strip().lower() in ("true", "1", "yes"):
            found.append(
                Evidence(
                    fact=f"tag {key} is {value}: the offset is in the pixels already",
                    offset=0.0,
                    applied=True,
                )
            )
        elif name in ("boa_add_offset", "radio_add_offset"):
            offset = _number(value)
            if offset is not None and 0 < abs(offset) <= 1:  # in units of reflectance
                offset *= PER_REFLECTANCE
            found.append(Evidence(fact=f"tag {key} is {value}", offset=offset))
        elif match := _PRODUCT.match(value.strip()):
            found.append(baseline_evidence(match[1], source=f"tag {key}: product {match[0]}"))
    return tuple(found)


def archive_evidence(*paths: str, tags: Iterable[Mapping[str, str]]) -> tuple[Evidence, ...]:
    """What belonging to an archive says that has taken the offset of its sources away.

    HLS from Sentinel-2 and Earth Engine's harmonised collections carry tags of ESA's products
    that they were made of; none of those is about their numbers.
    """
    signs = [match[0] for path in paths if (match := _RESCALED.search(path))]
    for own in tags:
        for key, value in own.items():
            if match := _RESCALED.search(value):
                signs.append(f"tag {key}: {match[0]}")
            elif key.lower().startswith("hls_"):
                signs.append(f"tag {key}")
    if not signs:
        return ()
    return (
        Evidence(
            fact=f"{signs[0]}: made without the offset, whatever tags of its sources say",
            offset=0.0,
            applied=True,
        ),
    )


def packed_evidence(
    tags: Mapping[str, str], *, floating: bool, overruled: bool = False
) -> tuple[Evidence, ...]:
    """What the attributes `scale_factor` and `add_offset` (CF, netCDF) say where tags keep them.

    As `gdal_evidence`, from the tags of a dataset and a band, in any case.
    """
    said = {}
    for key, value in tags.items():
        name = key.lower().removeprefix("ref_")  # as in HLS
        number = _number(value)
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


def _number(text: str) -> float | None:
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
            "reflectance does; store all bands alike"
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

    A small image alone may be too dark to tell; its neighbours tell. Most files decide whether it
    is reflectance; `check_float_evidence` refuses the odd ones out.

    Args:
        files: of each file, the ranges that `float_evidence` takes.

    Raises:
        RadiometryError: as `float_evidence`.
    """
    small = [ranges for ranges in files if ranges and _highest(ranges) <= _LARGEST_REFLECTANCE]
    large = [ranges for ranges in files if ranges and _highest(ranges) > _LARGEST_REFLECTANCE]
    every: dict[str, list[Range]] = {}
    for ranges in small if len(small) > len(large) else large:
        for band, own in ranges.items():
            every.setdefault(band, []).append(own)
    pooled = {
        band: Range(
            # a few files with unmarked missing pixels are named when they are read
            low=float(np.percentile([one.low for one in several], 5, method="higher")),
            high=max(one.high for one in several),
        )
        for band, several in every.items()
    }
    found = float_evidence(dtype, pooled)
    return replace(found, fact=f"{found.fact} (over {len(files)} images of the data set)")


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
            f"{dtype} with a 99.9th percentile of {high:.4g} is no "
            f"{'reflectance' if reflectance else 'digital number'}, as the other images of the "
            f"data set hold ({common.fact}); store all images alike"
        )
    _check_reach(dtype, ranges, reflectance=reflectance)


def _highest(ranges: Mapping[str, Range]) -> float:
    return max(each.high for each in ranges.values())


def _unmeasured(dtype: str, reach: str, number: float) -> str:
    return (
        f"{dtype} with numbers {reach}, which nothing measured is; if they mark missing pixels, "
        f"say so in the file: gdal_edit.py -a_nodata {number:g} FILE"
    )


def for_floats(found: Sequence[Evidence], own: Evidence) -> tuple[Evidence, ...]:
    """Facts about floating-point numbers, given what their size or GDAL's tags say (`own`).

    Reflectance is computed with the offset of its product, so a baseline says nothing about it.
    """
    if own.scale is None or own.scale == 1:
        return (own, *found)
    stated = [
        item if not item.offset else replace(item, fact=f"{item.fact} (of the integers the "
        "reflectance was computed from; taken as applied)", offset=None)
        for item in found
    ]  # fmt: skip
    return (own, *stated)


def decide(
    bands: BandSet,
    evidence: Sequence[Sequence[Evidence]],
    *,
    scale: float | None = None,
    offset: float | None = None,
) -> Radiometry:
    """Weigh what is known about each band.

    Args:
        evidence: for each band, its facts.
        scale, offset: the caller's word for all bands, above all evidence:
            digital number = stored x scale + offset.

    Raises:
        RadiometryError: facts contradict each other, or the caller's numbers are unusable.
    """
    if scale is not None and not 0.01 <= scale < math.inf:
        raise RadiometryError(
            f"scale {scale:g} does not lead to digital numbers of the order 0..10000 "
            f"(digital number = stored x scale + offset): use 1 for stored digital numbers, "
            f"10000 for stored reflectance"
        )
    scales, offsets, facts = [], [], []
    for band, found in zip(bands, evidence, strict=True):
        kept = _explain(found)
        scales.append(_agree(band, "scale", kept) if scale is None else scale)
        offsets.append(_agree(band, "offset", kept) if offset is None else offset)
        facts.append([item.fact for item in kept])
    given = [
        f"--{name} {value:g} given"
        for name, value in (("scale", scale), ("offset", offset))
        if value is not None
    ]
    assumed = offset is None and None in offsets
    why = [*given, *_summarise(bands, facts)]
    if assumed:
        why.append("no evidence of an offset: digital numbers taken as without one")
    return Radiometry(
        bands=bands,
        scale=tuple(1.0 if value is None else value for value in scales),
        offset=tuple(0.0 if value is None else value for value in offsets),
        evidence=tuple(why),
        assumed=assumed,
    )


def _explain(found: Sequence[Evidence]) -> list[Evidence]:
    """Set advertised offsets aside where a fact says that they are in the pixels already."""
    if not any(item.applied for item in found):
        return list(found)
    return [
        item
        if item.applied or not item.offset
        else replace(item, fact=f"{item.fact}: advertised, not applied a second time", offset=None)
        for item in found
    ]


def _agree(band: str, what: str, found: Sequence[Evidence]) -> float | None:
    """The one number that the facts of a band give, None when they give none."""
    said = [(getattr(item, what), item.fact) for item in found if getattr(item, what) is not None]
    for value, fact in said[1:]:
        if not math.isclose(value, said[0][0], rel_tol=1e-6, abs_tol=1e-3):
            raise RadiometryError(
                f"band {band}: contradictory {what}s. {said[0][1]} means {said[0][0]:g}; "
                f"{fact} means {value:g}{CURE}"
            )
    return said[0][0] if said else None


def _summarise(bands: BandSet, facts: Sequence[Sequence[str]]) -> list[str]:
    """Each fact once, with the bands it is about when it is not about all."""
    about: dict[str, list[str]] = {}
    for band, own in zip(bands, facts, strict=True):
        for fact in dict.fromkeys(own):
            about.setdefault(fact, []).append(band)
    return [
        fact if len(names) == len(bands) else f"{','.join(names)}: {fact}"
        for fact, names in about.items()
    ]
