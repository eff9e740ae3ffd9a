"""From stored numbers to the scale the models were pretrained on, decided from evidence.

That scale is Sentinel-2 digital numbers before processing baseline 04.00: reflectance x 10 000
with no offset. Newer ESA products store 1000 more. Whether a file does is told by its metadata,
never by its date, since old scenes are reprocessed with new baselines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import BandSet
from deo.errors import RadiometryError
from deo.sensors.evidence import CURE, Evidence


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
                f"{len(self.offset)} offsets; give one of each per band"
            )
        for scale, offset in zip(self.scale, self.offset, strict=True):
            if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0):
                raise RadiometryError(
                    f"scale {scale:g} with offset {offset:g} is unusable: the scale must be "
                    f"above 0, and both must be finite"
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
    for band, known in zip(bands, evidence, strict=True):
        kept = _explain(known)
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


def _explain(known: Sequence[Evidence]) -> list[Evidence]:
    """Set advertised offsets aside where a fact says that they are in the pixels already."""
    if not any(item.applied for item in known):
        return list(known)
    return [
        item
        if item.applied or not item.offset
        else replace(item, fact=f"{item.fact}: advertised, not applied a second time", offset=None)
        for item in known
    ]


def _agree(band: str, what: str, known: Sequence[Evidence]) -> float | None:
    """The one number that the facts of a band give, None when they give none."""
    said = [(getattr(item, what), item.fact) for item in known if getattr(item, what) is not None]
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
    for band, stated in zip(bands, facts, strict=True):
        for fact in dict.fromkeys(stated):
            about.setdefault(fact, []).append(band)
    return [
        fact if len(names) == len(bands) else f"{','.join(names)}: {fact}"
        for fact, names in about.items()
    ]
