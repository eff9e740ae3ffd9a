"""A scene: bands by name on one grid, read window by window on the pretraining scale."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from deo.bands import BandSet, Pixels
from deo.errors import SceneError
from deo.scene.assets import Asset
from deo.scene.gdal import enough_memory
from deo.scene.grid import Extent, Grid, Relation
from deo.scene.mask import (
    NO_MASK,
    Mask,
    apply_masks,
    without_marks,
)
from deo.scene.raster import RasterSource
from deo.scene.raster_mask import RasterMask
from deo.scene.resample import resample, taps, thin
from deo.scene.sampling import ENOUGH, gone_through, lattice, telling, telling_pixels, thin_image
from deo.scene.sources import Source
from deo.scene.thumbnail import scene_card
from deo.scene.window import Window
from deo.scene.xarray_grid import data_array
from deo.sensors.radiometry import Radiometry

log = logging.getLogger(__name__)

SAMPLE_SIZE = 1024
"""Longest side of the sample that a scene is measured on, in pixels."""

_SWAMPED = 0.002  # share of numbers other than 0 that a 99.9th percentile would hardly notice


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Bands of one place and time. A context manager: leaving it closes the files.

    Args:
        name: for people, usually the file's name.
        bands: what it holds, in its own order.
        grid: the grid that every read is on.
        radiometry: how stored numbers become digital numbers on the pretraining scale.
        names_source: where the band names came from.
        mask_source: what says which pixels are valid.
        ignored: what the source holds besides, as text.
        notes: what a user ought to know, as text.
        assets, relations: where each band is stored, and how this grid lies on it.
        documents: files that say what the assets are, such as a STAC item.
        masks: what is laid over it afterwards; see `masked`.
        each: applies a function to the files of a window: `map`, or that of an executor.
    """

    name: str
    bands: BandSet
    grid: Grid
    radiometry: Radiometry
    names_source: str
    mask_source: str
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    assets: tuple[Asset, ...]
    relations: tuple[Relation, ...]
    documents: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()
    each: Callable[..., Iterable[Pixels]] = map

    @property
    def unnamed(self) -> int:
        """How many bands its sources hold, alpha aside, beyond those of the scene."""
        sources = {id(asset.source): asset.source for asset in self.assets}
        return sum(source.spectral for source in sources.values()) - len(self.assets)

    def __repr__(self) -> str:
        place = self.crs or "no coordinate reference system"
        return f"<Scene {self.name}: {self.bands}, {self.height} x {self.width}, {place}>"

    def _repr_html_(self) -> str:
        return scene_card(self)

    @property
    def height(self) -> int:
        return self.grid.height

    @property
    def width(self) -> int:
        return self.grid.width

    @property
    def whole(self) -> Window:
        """The window of all of its pixels."""
        return Window(row=0, col=0, height=self.height, width=self.width)

    @property
    def crs(self) -> Any:
        """`rasterio.crs.CRS`, or None."""
        return self.grid.crs

    @property
    def transform(self) -> Affine:
        """From (column, row) of pixel corners to coordinates."""
        return self.grid.transform

    @property
    def kernels(self) -> dict[str, str]:
        """How each band comes onto the grid: `copy`, `bilinear` or `average`."""
        pairs = zip(self.bands, self.relations, strict=True)
        return {band: relation.kernel for band, relation in pairs}

    def masked(self, *masks: Mask) -> "Scene":
        """The same scene, of whose pixels only those are valid that every mask lets through."""
        said = [] if self.mask_source == NO_MASK else [self.mask_source]
        return replace(
            self,
            masks=(*self.masks, *masks),
            mask_source=", ".join([*said, *(mask.source for mask in masks)]),
        )

    def read(self, window: Window, bands: BandSet | None = None) -> Pixels:
        """The pixels of a window that lies inside the scene.

        Args:
            bands: channels of the result, in order; None: all of the scene's.

        Raises:
            BandError: the scene has no such band.
            SceneError: the window reaches outside, or the file cannot be read there.
        """
        bands = bands or self.bands
        if window.row + window.height > self.height or window.col + window.width > self.width:
            raise SceneError(f"{window} reaches outside {self.name} ({self.height} x {self.width})")
        positions = bands.positions_in(self.bands.names)
        groups = self._by_source(positions)
        with enough_memory(f"{self.name}: cannot read {window.height} x {window.width} pixels"):
            if len(groups) == 1:
                values, valid = self._read_group(positions, window)
            else:
                values = np.empty((len(bands), window.height, window.width), np.float32)
                valid = np.ones(values.shape[1:], np.bool_)
                parts = self.each(partial(self._read_group, window=window), groups)
                for group, part in zip(groups, parts, strict=True):
                    for position, plane in zip(group, part.values, strict=True):
                        values[positions.index(position)] = plane
                    valid &= part.valid
            masked = apply_masks(Pixels(values, valid), self.masks, window)
            return self._finish(*masked, bands)

    def sample(self, bands: BandSet | None = None, *, size: int | None = None) -> Pixels:
        """The scene thinned to at most `size` pixels a side, for pictures, or for statistics.

        Files with overviews are read from those, unless they hold something else than the image.
        A file beyond 2**28 pixels without any gives small windows spread evenly instead, side by
        side.

        Args:
            size: None: for statistics. Where the sample of `SAMPLE_SIZE` holds too few valid
                numbers other than 0 to measure, those of the whole image come in one row instead.
        """
        bands = bands or self.bands
        self._keep(bands)
        thinned = self._thinned(bands, SAMPLE_SIZE if size is None else size)
        if size is not None:
            return thinned
        whole = thinned.valid.shape == (self.height, self.width)
        # where nearly all is 0, a high percentile would measure the zeros
        wanted = _SWAMPED * np.count_nonzero(thinned.valid) if whole else ENOUGH
        if np.count_nonzero(thinned.values[0]) > wanted:  # cheap, and nearly always enough
            return thinned
        told = telling(*thinned)
        if np.count_nonzero(told) > wanted:
            return thinned
        if whole:
            pixels = thinned.values[:, told]
        else:
            pixels = telling_pixels(
                lambda window: self.read(window, bands), height=self.height, width=self.width
            )
        if not pixels.size:
            if not thinned.valid.any():
                log.warning("%s: none of the pixels that were looked at is valid", self.name)
            return thinned
        return Pixels(pixels[:, None], np.ones((1, pixels.shape[1]), np.bool_))

    def _keep(self, bands: BandSet) -> None:
        """Have remote files fetched whole, once, that would be fetched by the sample and again."""
        used = Counter(id(asset.source) for asset in self.assets)
        sources = [self.assets[i].source for i in bands.positions_in(self.bands.names)]
        for source in {id(source): source for source in sources}.values():
            if isinstance(source, RasterSource):
                source.keep(used[id(source)], overviews=not self.masks)

    def _thinned(self, bands: BandSet, size: int) -> Pixels:
        """The whole scene thinned to at most `size` pixels a side."""
        positions = bands.positions_in(self.bands.names)
        step = max(1.0, max(self.height, self.width) / size)
        height, width = (max(1, round(side / step)) for side in (self.height, self.width))
        if self.masks:  # overviews are the files' own: only windows can be masked
            thinned = thin_image if gone_through(self.grid) else lattice
            return thinned(
                partial(self.read, bands=bands),
                self.grid.extent,
                bands=len(bands),
                height=height,
                width=width,
            )
        with enough_memory(f"{self.name}: cannot read a sample"):
            values = np.empty((len(bands), height, width), np.float32)
            valid = np.ones((height, width), np.bool_)
            for group in self._by_source(positions):
                part = self._sample_group(group, height, width)
                for position, plane in zip(group, part.values, strict=True):
                    values[positions.index(position)] = plane
                valid &= part.valid
            return self._finish(values, valid, bands)

    def _sample_group(self, group: Sequence[int], height: int, width: int) -> Pixels:
        """Stored numbers of bands that share a source, thinned; not valid beyond its edges."""
        source, relation = self.assets[group[0]].source, self.relations[group[0]]
        assets = [self.assets[position] for position in group]
        indexes = [asset.index for asset in assets]
        rows = thin(relation.rows, self.height, height, source.grid.height)
        cols = thin(relation.cols, self.width, width, source.grid.width)
        whole = Pixels(
            np.zeros((len(group), height, width), np.float32), np.zeros((height, width), np.bool_)
        )
        if rows.first < rows.end and cols.first < cols.end:
            part = slice(rows.first, rows.end), slice(cols.first, cols.end)
            extent = Extent(rows.start, cols.start, rows.stop, cols.stop)
            thinned = source.sample(indexes, rows.end - rows.first, cols.end - cols.first, extent)
            whole.values[:, *part], whole.valid[part] = without_marks(thinned, assets)
        return whole

    def _finish(
        self, values: NDArray[np.float32], valid: NDArray[np.bool_], bands: BandSet
    ) -> Pixels:
        """Stored numbers to digital numbers, in place; 0 where not valid."""
        self.radiometry.apply(values, bands)
        if not valid.all():
            values[:, ~valid] = 0
        return Pixels(values, valid)

    def _by_source(self, positions: Sequence[int]) -> list[list[int]]:
        groups: dict[Source, list[int]] = {}
        for position in positions:
            groups.setdefault(self.assets[position].source, []).append(position)
        return list(groups.values())

    def _read_group(self, group: Sequence[int], window: Window) -> Pixels:
        """Stored numbers of bands that share a source, on this scene's grid."""
        source, relation = self.assets[group[0]].source, self.relations[group[0]]
        assets = [self.assets[position] for position in group]
        indexes = [asset.index for asset in assets]
        if (
            relation.same
            and window.row + window.height <= source.grid.height
            and (window.col + window.width <= source.grid.width)
        ):
            return without_marks(source.read(indexes, window), assets)
        rows = taps(relation.rows, window.row, window.height, source.grid.height)
        cols = taps(relation.cols, window.col, window.width, source.grid.width)
        needed = Window(
            row=rows.start,
            col=cols.start,
            height=rows.stop - rows.start,
            width=cols.stop - cols.start,
        )
        return resample(without_marks(source.read(indexes, needed), assets), rows, cols)

    def to_xarray(self) -> Any:
        """The whole scene in memory as a DataArray (band, y, x) with coordinates and CRS.

        Digital numbers (reflectance x 10 000) in float32; NaN where they are not valid.

        Raises:
            MissingExtraError: xarray is not installed.
        """
        values, valid = self.read(self.whole)
        values[:, ~valid] = np.nan
        return data_array(
            values,
            self.bands.names,
            dimension="band",
            crs=self.crs,
            transform=self.transform,
            attributes={"long_name": "digital number (reflectance x 10000)"},
            name=self.name,
        )

    def record(self) -> dict[str, Any]:
        """What was understood, as JSON-able values."""
        across, down = self.grid.pixel
        return {
            "name": self.name,
            "bands": list(self.bands),
            "names_source": self.names_source,
            "height": self.height,
            "width": self.width,
            "crs": _crs_text(self.crs),
            "transform": list(self.transform)[:6],
            "pixel_size": [across, down],
            "kernels": self.kernels,
            "mask_source": self.mask_source,
            "radiometry": self.radiometry.record(),
            "ignored": list(self.ignored),
            "notes": list(self.notes),
            **({"masks": self.mask_records} if self.masks else {}),
        }

    @property
    def mask_records(self) -> list[dict[str, Any]]:
        """Of each mask laid over the scene, its name and, where that is known, what it took."""
        return [
            mask.record() if isinstance(mask, RasterMask) else {"name": mask.source}
            for mask in self.masks
        ]

    @property
    def mask_rasters(self) -> tuple[RasterSource, ...]:
        """The files that masks are read from."""
        return tuple(mask.raster for mask in self.masks if isinstance(mask, RasterMask))

    def close(self) -> None:
        for source in {id(asset.source): asset.source for asset in self.assets}.values():
            source.close()
        for raster in self.mask_rasters:
            raster.close()

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _crs_text(crs: Any) -> str | None:
    if not crs:
        return None
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())
