"""Whether floating-point numbers are reflectance or digital numbers, where no metadata say so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from deo.errors import RadiometryError
from deo.scene.assets import Asset
from deo.scene.raster import RasterSource
from deo.scene.sampling import ENOUGH, gone_through, telling, telling_pixels
from deo.scene.sources import Source
from deo.sensors.evidence import CURE, Evidence
from deo.sensors.floats import LARGEST_NUMBER, Range, float_evidence, for_floats

_FLOAT_SAMPLE = 256  # pixels a side
_FLOAT_PERCENTILE = 99.9

FloatJudge = Callable[[str, Mapping[str, Range]], Evidence]
"""What a type and the ranges of its bands say of the unit; see `float_evidence`."""


def with_float_evidence(
    assets: Sequence[Asset], *, overruled: bool, judge: FloatJudge = float_evidence
) -> tuple[Asset, ...]:
    """Add to floating-point assets what the size of their numbers says to `judge`.

    GDAL's scale and offset, where a file has them, say it already.
    """
    plain = [
        asset
        for asset in assets
        if asset.floating and not any(item.scale is not None for item in asset.evidence)
    ]
    if overruled:
        return tuple(assets)
    _check_stated([asset for asset in assets if asset.floating and asset not in plain])
    if not plain:
        return tuple(assets)
    ranges = _robust_ranges(plain)
    unseen = [asset for asset in plain if not gone_through(asset.source.grid)]
    if not ranges and judge is float_evidence and unseen:
        raise RadiometryError(
            f"{unseen[0].source.label}: none of the pixels that were looked at is valid, so "
            f"nothing tells its unit; state it with --scale (10000 for reflectance, 1 for digital "
            f"numbers)"
        )
    judged = judge(plain[0].dtype, ranges)
    return tuple(
        replace(asset, evidence=for_floats(asset.evidence, judged)) if asset in plain else asset
        for asset in assets
    )


def _check_stated(assets: Sequence[Asset]) -> None:
    """Refuse a stated scale by which floating-point numbers are no digital numbers at all.

    Tags of packed integers may live on in a file of the unpacked numbers.
    """
    ranges = _robust_ranges(assets)
    for asset in assets:
        stated = next(item for item in asset.evidence if item.scale is not None)
        if asset.band not in ranges or stated.scale is None:
            continue
        high = ranges[asset.band].high
        if not 3 < high * stated.scale < LARGEST_NUMBER:
            raise RadiometryError(
                f"{asset.source.label}: band {asset.band} is {asset.dtype} with a 99.9th "
                f"percentile of {high:.4g}, which contradicts {stated.fact}{CURE}"
            )


def _robust_ranges(assets: Sequence[Asset]) -> dict[str, Range]:
    """Of each band that holds a valid number other than 0."""
    sources: dict[Source, list[Asset]] = {}
    for asset in assets:
        sources.setdefault(asset.source, []).append(asset)
    ranges = {}
    for source, inside in sources.items():
        height, width = (
            min(_FLOAT_SAMPLE, side) for side in (source.grid.height, source.grid.width)
        )
        indexes = [asset.index for asset in inside]
        if isinstance(source, RasterSource):
            source.keep(len(inside))
        pixels = source.sample(indexes, height, width)
        seen = pixels.values[:, pixels.valid]
        told = telling(*pixels)
        if np.count_nonzero(told) < ENOUGH:
            seen = pixels.values[:, told]
            if (height, width) != (source.grid.height, source.grid.width):
                seen = telling_pixels(
                    partial(source.read, indexes),
                    height=source.grid.height,
                    width=source.grid.width,
                )
        for asset, plane in zip(inside, seen, strict=True):
            if plane.any():
                ranges[asset.band] = Range(
                    low=float(plane.min()),
                    high=float(np.percentile(plane, _FLOAT_PERCENTILE)),
                    top=float(plane.max()),
                )
    return ranges
