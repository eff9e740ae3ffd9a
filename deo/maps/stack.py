"""Features of one place from one map or several: layers or dates, one behind the other."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError, SceneError
from deo.files.records import differences
from deo.maps.memory import MapArray
from deo.maps.metadata import MapInfo, scale_transform
from deo.maps.readback import Finished, StoredMap, open_features
from deo.maps.rows import Shape
from deo.scene.window import Window

FeatureMap = str | os.PathLike[str] | MapArray
"""A file that `deo extract` wrote, or what `deo.extract` returned."""

_SIDE = 512  # that of a GeoTIFF's blocks, and a multiple of a Zarr group's
_WINDOW_BYTES = 256 * 2**20
_IDENTITY = (
    "DEO_MODEL", "DEO_WEIGHTS_SHA256", "DEO_BANDS", "DEO_LAYER", "DEO_CONTRACT", "DEO_COMPONENTS"
)  # fmt: skip
_OF_ONE_MAP = "this map"  # how `DEO_COMPONENTS` ends where no other map has the same axes


@dataclass(frozen=True, kw_only=True)
class FeatureStack:
    """Maps of features laid on the finest of their grids.

    Args:
        maps: in the order in which they were named.
        factors: how many cells of the finest grid are one of each map's, along a side.
        info: describes the map that has the finest grid, the first of such.
    """

    maps: tuple[Finished, ...]
    factors: tuple[int, ...]
    info: MapInfo

    @property
    def shape(self) -> Shape:
        """Channels of all maps; rows and columns of the finest."""
        finest = self.maps[self.factors.index(1)].rows.shape
        return finest._replace(channels=sum(self.channels))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each map."""
        return tuple(one.rows.shape.channels for one in self.maps)

    @property
    def identity(self) -> list[dict[str, str | int]]:
        """What each map must share with another one whose features are to mean the same."""
        return [_identity(one) for one in self.maps]

    def windows(self, *, beside: int = 0) -> list[Window]:
        """Parts that cover the map, row by row of them; always the same ones.

        Args:
            beside: numbers that are held for each cell of a whole row of parts. They, and the
                features of one part, take 256 MiB each at most.
        """
        channels, height, width = self.shape
        row = 4 * max(channels * _SIDE, beside * width)
        tall = _SIDE
        while tall > 1 and tall * row > _WINDOW_BYTES:
            tall //= 2
        return [
            Window(row=top, col=left, height=tall, width=_SIDE).clip(height=height, width=width)
            for top in range(0, height, tall)
            for left in range(0, width, _SIDE)
        ]

    def read(self, window: Window) -> NDArray[np.float32]:
        """The features (channels, rows, columns) of a window; NaN where a map has no data."""
        out = np.empty((self.shape.channels, window.height, window.width), np.float32)
        first = 0
        for one, factor in zip(self.maps, self.factors, strict=True):
            part = out[first : first + one.rows.shape.channels]
            rows, columns = window.slices
            if factor == 1:
                part[:] = one.rows.window(rows, columns)
            else:
                part[:] = _enlarged(one.rows, rows, columns, factor)
            first += len(part)
        return out


@contextlib.contextmanager
def open_stack(features: FeatureMap | Sequence[FeatureMap]) -> Iterator[FeatureStack]:
    """Open maps of features as one; they stay open until the context ends.

    Args:
        features: one map, or several of one place: layers whose cells fit into one another, dates.

    Raises:
        SceneError: one is none of features, or damaged.
        DataError: their grids do not fit, or there are none.
    """
    several = [features] if isinstance(features, str | os.PathLike | MapArray) else list(features)
    if not several:
        raise DataError("no map of features was given; name at least one")
    with contextlib.ExitStack() as stack:
        maps = tuple(stack.enter_context(_opened(one)) for one in several)
        finest = min(maps, key=lambda one: abs(one.info.transform.determinant))
        factors = tuple(_factor(one, finest) for one in maps)
        yield FeatureStack(maps=maps, factors=factors, info=finest.info)


def paths_of(features: FeatureMap | Sequence[FeatureMap]) -> list[Path]:
    """The files among maps of features."""
    several = [features] if isinstance(features, str | os.PathLike | MapArray) else features
    return [Path(one) for one in several if not isinstance(one, MapArray)]


def refuse_other_features(
    wanted: Sequence[dict[str, str | int]], given: FeatureStack, *, owner: str
) -> None:
    """Refuse features that are not of the kind that something was made for.

    Args:
        wanted: the identity of the features that it was made for.
        owner: what was made for them, for the message.

    Raises:
        DataError: they differ; the message says in what.
    """
    if len(wanted) != len(given.maps):
        raise DataError(
            f"{owner} was made for {len(wanted)} map{'s' * (len(wanted) != 1)} of features, got "
            f"{len(given.maps)}; give as many, in the same order"
        )
    for number, (before, now) in enumerate(zip(wanted, given.identity, strict=True), start=1):
        if different := differences(before, now):
            raise DataError(
                f"{owner} was made for other features than map {number} ({_name(given, number)}) "
                f"holds: {'; '.join(map(str, different))}. Extract features with the same model, "
                "weights, layer and components, and with --contract and the path of the features "
                "that it was made for"
            )


@contextlib.contextmanager
def _opened(features: FeatureMap) -> Iterator[Finished]:
    if not isinstance(features, MapArray):
        with open_features(Path(features)) as finished:
            yield finished
        return
    tags = features.tags
    try:
        layer, stride = int(tags["DEO_LAYER"]), int(tags["DEO_STRIDE"])
    except (KeyError, ValueError) as error:
        raise SceneError(
            "this map in memory does not say which features it holds; give what `deo.extract` "
            "returned"
        ) from error
    info = MapInfo(
        layer=layer,
        stride=stride,
        crs=features.crs,
        transform=features.transform,
        dtype="float32",
        tags=tags,
        names=features.names,
        source=tags.get("DEO_SOURCE", "the map in memory"),
    )
    shape = Shape(*features.array.shape)
    yield Finished(StoredMap(size=shape, read=features.array.__getitem__), info)


def _factor(one: Finished, finest: Finished) -> int:
    """How many cells of the finest grid lie along a cell of a map."""
    own, base = one.info.transform, finest.info.transform
    factor: int = round((own.determinant / base.determinant) ** 0.5)
    height, width = (-(-side // factor) for side in finest.rows.shape[1:])
    tolerance = 1e-3 * abs(base.determinant) ** 0.5
    fits = own.almost_equals(scale_transform(base, factor), tolerance)
    if fits and one.rows.shape[1:] == (height, width) and one.info.crs == finest.info.crs:
        return factor
    raise DataError(
        f"the maps of {one.info.source} ({_grid(one)}) and {finest.info.source} ({_grid(finest)}) "
        "do not lie on one grid; extract both from scenes on one grid, or lay them out with "
        "`deo area`"
    )


def _grid(one: Finished) -> str:
    t, shape = one.info.transform, one.rows.shape
    crs = "no CRS" if one.info.crs is None else one.info.crs.to_string()[:40]
    return f"{shape.height} x {shape.width} cells of {t.a:g} from {t.c:g}, {t.f:g} in {crs}"


def _enlarged(stored: StoredMap, rows: slice, columns: slice, factor: int) -> NDArray[np.float32]:
    """A window of the finest grid from a coarser map: the cell that each of its cells lies in."""
    down = np.arange(rows.start, rows.stop) // factor
    along = np.arange(columns.start, columns.stop) // factor
    coarse = stored.window(slice(down[0], down[-1] + 1), slice(along[0], along[-1] + 1))
    return coarse[:, (down - down[0])[:, None], along - along[0]]


def _identity(one: Finished) -> dict[str, str | int]:
    tags = one.info.tags
    record: dict[str, str | int] = {name: tags[name] for name in _IDENTITY if name in tags}
    if tags.get("DEO_COMPONENTS", "").endswith(_OF_ONE_MAP):
        record |= {name: tags.get(name, "") for name in ("DEO_SOURCE", "DEO_SOURCE_ID")}
    return record | {"channels": one.rows.shape.channels}


def _name(stack: FeatureStack, number: int) -> str:
    return stack.maps[number - 1].info.source
