"""Stored integers that mark missing pixels although the file does not say so."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import RadiometryError, SceneError
from deo.scene.assets import Asset
from deo.scene.gdal import is_remote
from deo.scene.raster import RasterSource
from deo.scene.sources import Source
from deo.scene.window import Window
from deo.sensors.floats import DARKEST, LARGEST_NUMBER

_SAMPLE = 256  # pixels a side
_SMALL = 2**21  # pixels of a file that GDAL's cache keeps for the reading that follows
_PLACE = 64  # pixels a side
_SATURATED = 30_000  # digital numbers that clouds and glints reach at most on their own
_FEWEST = 4  # pixels that agree in all bands; fewer may simply be saturated
_USUAL_IN_ONE_BAND = -99  # in a single band, numbers nearer 0 may be measurements


class Filled(NamedTuple):
    """Assets that know their fill value, and what was taken for one, for people."""

    assets: tuple[Asset, ...]
    notes: tuple[str, ...]


def with_undeclared_fill(assets: Sequence[Asset], *, name: str, scale: float | None) -> Filled:
    """Look for fill values among the integers that count as valid.

    What nothing measures is one: a reflectance below -0.5 or from 100 on. So is a number that all
    bands hold at once, apart from all others: the only negative one (-999), or one that real
    numbers stay far away from (65535, or -9999 stored as 55537). Where bright numbers come near
    it, 65535 is taken for saturation. ESA's own images are left alone: in them it is saturation.

    Args:
        name: of the scene, for messages.
        scale: the caller's, from stored numbers to digital numbers.

    Raises:
        RadiometryError: several such numbers in one band.
    """
    sources: dict[Source, list[Asset]] = {}
    for asset in assets:
        if _may_be_filled(asset):
            sources.setdefault(asset.source, []).append(asset)
    fills: dict[Asset, float] = {}
    plain = False  # an unsigned source was looked at and holds nothing extreme
    for source, inside in sources.items():
        signed = any(np.dtype(asset.dtype).kind == "i" for asset in inside)
        if plain and not signed:
            continue
        if isinstance(source, RasterSource) and _is_thinned_cheaply(source, inside[0].index):
            source.keep(len(inside))
        scales = np.array([_scale(asset) if scale is None else scale for asset in inside])
        # fill values stand in all bands at once: one band tells that there are none
        if not signed and not (_stored(source, inside[:1]) * scales[0] >= _SATURATED).any():
            plain = True
            continue
        numbers = _fills(_stored(source, inside), scales, inside)
        fills |= {asset: number for asset, number in zip(inside, numbers, strict=True) if number}
    filled = tuple(
        replace(asset, fill=fills[asset]) if asset in fills else asset for asset in assets
    )
    return Filled(filled, tuple(_note(name, filled, number) for number in {*fills.values()}))


def _may_be_filled(asset: Asset) -> bool:
    dtype = np.dtype(asset.dtype)
    made_by_esa = asset.zero_is_nodata and asset.source.path.lower().endswith(".jp2")
    return dtype.kind in "iu" and dtype.itemsize > 1 and not made_by_esa


def _scale(asset: Asset) -> float:
    """From stored to digital numbers, as far as it is known."""
    return next((item.scale for item in asset.evidence if item.scale is not None), 1.0)


def _stored(source: Source, assets: Sequence[Asset]) -> NDArray[np.float32]:
    """(C, N): valid numbers of a thin sample, as they are stored.

    Where thinning would read a large file whole, of a few places: fill values come in swaths and
    corners. Of a remote file one block has to do, since each costs a request.
    """
    indexes = [asset.index for asset in assets]
    try:
        if _is_thinned_cheaply(source, indexes[0]):
            height, width = (min(_SAMPLE, side) for side in (source.grid.height, source.grid.width))
            parts = [source.sample(indexes, height, width)]
        else:
            parts = [source.read(indexes, window) for window in _places(source)]
    except SceneError:  # reading the damaged part will tell
        return np.zeros((len(assets), 0), np.float32)
    return np.concatenate([values[:, valid] for values, valid in parts], axis=1)


def _is_thinned_cheaply(source: Source, index: int) -> bool:
    if not isinstance(source, RasterSource):
        return True
    small = source.grid.height * source.grid.width <= _SMALL and not is_remote(source.path)
    return small or source.has_overviews(index)


def _places(source: Source) -> list[Window]:
    """Corners, middles of the sides and the centre; of a remote file its first corner alone."""
    parts = (0.0,) if is_remote(source.path) else (0.0, 0.5, 1.0)
    height, width = min(_PLACE, source.grid.height), min(_PLACE, source.grid.width)
    return [
        Window(
            row=int((source.grid.height - height) * down),
            col=int((source.grid.width - width) * across),
            height=height,
            width=width,
        )
        for down in parts
        for across in parts
    ]


def _fills(
    stored: NDArray[np.float32], scales: NDArray[np.float64], assets: Sequence[Asset]
) -> list[float | None]:
    """The fill value of each band, if it has one."""
    several = len(stored) > 1
    negative = stored < 0
    lowest, highest = stored.min(initial=0), stored.max(initial=0)
    together = np.count_nonzero((stored == lowest).all(axis=0))
    if (
        together >= _FEWEST
        and lowest < (0 if several else _USUAL_IN_ONE_BAND)
        and (stored[negative] == lowest).all()
        and together == np.count_nonzero(negative.any(axis=0))
    ):
        return [float(lowest)] * len(assets)
    together = np.count_nonzero((stored == highest).all(axis=0))
    limit = min(np.iinfo(asset.dtype).max for asset in assets)
    if (
        together >= _FEWEST
        and highest * scales.min() >= _SATURATED
        and (several or highest == np.float32(limit))
        and (stored[stored != highest].max(initial=0) < highest / 2)
    ):
        return [float(highest)] * len(assets)
    fills: list[float | None] = []
    for plane, scale, asset in zip(stored, scales, assets, strict=True):
        numbers = np.unique(plane[(plane * scale <= DARKEST) | (plane * scale >= LARGEST_NUMBER)])
        if len(numbers) > 1:
            raise RadiometryError(
                f"{asset.source.label}: band {asset.band} holds {len(numbers)} numbers from "
                f"{numbers[0]:g} to {numbers[-1]:g} that no measurement reaches. Mark them as "
                f"missing in the file (gdal_calc.py, gdal_edit.py -a_nodata)"
            )
        fills.append(float(numbers[0]) if len(numbers) else None)
    return fills


def _note(name: str, assets: Sequence[Asset], number: float) -> str:
    bands = [asset.band for asset in assets if asset.fill == number]
    where = "" if len(bands) == len(assets) else f" of {', '.join(bands)}"
    return (
        f"{name}: stored {number:.0f}{where} is taken to mark missing pixels, though nothing says "
        f"so (gdal_edit.py -a_nodata {number:.0f} FILE says it; nodata= of an array)"
    )
