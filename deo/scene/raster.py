"""A raster file, opened by GDAL, as a source of stored numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from deo.bands import Pixels
from deo.errors import SceneError
from deo.scene.formats import Door
from deo.scene.gdal import is_remote, public
from deo.scene.grid import Extent, Grid
from deo.scene.handle import Handle
from deo.scene.sampling import LARGEST_SCANNED, lattice, overviews_tell, thin_image
from deo.scene.sources import is_floating
from deo.scene.window import Window

_STAC_PREFIXES = ("s2", "eo", "earthsearch", "processing")
_STAC_TAGS = (
    *("s2:processing_baseline", "s2:product_uri", "earthsearch:boa_offset_applied"),
    *("processing:version", "eo:bands", "eo:common_name"),
)

_FIRST_OVERVIEW = 1.5  # pixels per thinned pixel from which GDAL may read overviews of half size
_REMEMBERED = 16 * 2**20  # bytes
_MOST = 0.75  # of a file's bands, for which all of it is fetched
_EXACT = frozenset(["uint8", "int8", "uint16", "int16"])  # held exactly by float32


@dataclass(frozen=True, kw_only=True, eq=False)
class RasterSource:
    """A raster file, opened.

    Args:
        blocks: rows and columns of what each band is stored and unpacked in.
        interleaved: one block holds all bands.
    """

    path: str
    handle: Handle
    driver: str
    grid: Grid
    dtypes: tuple[str, ...]
    blocks: tuple[tuple[int, int], ...]
    interleaved: bool
    descriptions: tuple[str | None, ...]
    band_tags: tuple[Mapping[str, str], ...]
    tags: Mapping[str, str]
    gdal_scales: tuple[float, ...]
    gdal_offsets: tuple[float, ...]
    nodatas: tuple[float | None, ...]
    colours: tuple[ColorInterp, ...]
    has_gcps: bool

    @classmethod
    def open(cls, path: str, *, door: Door) -> "RasterSource":
        """Open a path or URL and check that its pixels can be read within bounded memory.

        Raises:
            SceneError: GDAL cannot open it, or what it holds cannot be a scene.
        """
        handle = Handle(path, door=door)
        try:
            return handle.use("open it as a raster", lambda dataset: cls._describe(handle, dataset))
        except BaseException:
            handle.close()
            raise

    @classmethod
    def _describe(cls, handle: Handle, dataset: Any) -> "RasterSource":
        path = public(handle.path)
        if dataset.count == 0:
            raise SceneError(f"{path} has no raster bands")
        if any(name.startswith("complex") for name in dataset.dtypes):
            raise SceneError(
                f"{path} holds complex numbers; reflectance or digital numbers are needed"
            )
        transform = dataset.transform
        grid = Grid(
            height=dataset.height,
            width=dataset.width,
            crs=dataset.crs,
            transform=transform,
            georeferenced=transform != Affine.identity(),
        )
        numbers = tuple(transform)
        if not all(map(math.isfinite, numbers)) or transform.is_degenerate:
            raise SceneError(f"{path} has an unusable transform {numbers[:6]}")
        return cls(
            path=handle.path,
            handle=handle,
            driver=dataset.driver,
            grid=grid,
            dtypes=tuple(dataset.dtypes),
            blocks=tuple(dataset.block_shapes),
            interleaved=dataset.profile.get("interleave") == "pixel",
            descriptions=tuple(dataset.descriptions),
            band_tags=tuple(_tags(dataset, index) for index in dataset.indexes),
            tags=_tags(dataset, 0),
            gdal_scales=tuple(dataset.scales),
            gdal_offsets=tuple(dataset.offsets),
            nodatas=tuple(dataset.nodatavals),
            colours=tuple(dataset.colorinterp),
            has_gcps=bool(dataset.gcps[0]),
        )

    def read(self, indexes: Sequence[int], window: Window) -> Pixels:
        where = f"rows {window.row}..{window.row + window.height - 1}, "
        where += f"columns {window.col}..{window.col + window.width - 1}"
        box = RasterioWindow(window.col, window.row, window.width, window.height)
        return self.handle.use(
            f"read {where}", lambda dataset: self._pixels(dataset, indexes, window=box)
        )

    def sample(
        self, indexes: Sequence[int], height: int, width: int, extent: Extent | None = None
    ) -> Pixels:
        extent = extent or self.grid.extent
        tall, wide = extent.bottom - extent.top, extent.right - extent.left
        box = RasterioWindow(extent.left, extent.top, wide, tall)
        step = max(tall / height, wide / width)
        read = partial(self.read, indexes)
        huge = tall * wide > LARGEST_SCANNED
        if huge and not self.has_overviews(indexes[0]):
            return lattice(read, extent, bands=len(indexes), height=height, width=width)
        if step > _FIRST_OVERVIEW and not self._overviews_tell(indexes[:1], extent, step):
            if huge:
                return lattice(read, extent, bands=len(indexes), height=height, width=width)
            return thin_image(read, extent, bands=len(indexes), height=height, width=width)
        return self._thin(indexes, box, height, width)

    def _thin(self, indexes: Sequence[int], box: RasterioWindow, height: int, width: int) -> Pixels:
        """As GDAL thins, by the nearest pixel: from overviews where the file has some."""
        shape = (len(indexes), height, width)
        return self.handle.use(
            "read an overview",
            lambda dataset: self._pixels(dataset, indexes, window=box, out_shape=shape),
        )

    def has_overviews(self, index: int) -> bool:
        """Whether the file holds smaller copies of a band."""
        return self.handle.use("list its overviews", lambda dataset: bool(dataset.overviews(index)))

    def _overviews_tell(self, indexes: Sequence[int], extent: Extent, step: float) -> bool:
        """Whether what GDAL thins is the image.

        A VRT's files may have overviews of their own. JPEG 2000's are part of the image itself.
        """
        wavelets = self.driver.startswith("JP2") and not any(
            name.lower().endswith(".ovr") for name in self.files
        )
        if wavelets or not (self.driver == "VRT" or self.has_overviews(indexes[0])):
            return True
        return overviews_tell(
            partial(self.read, indexes),
            lambda window, height, width: self._thin(
                indexes,
                RasterioWindow(window.col, window.row, window.width, window.height),
                height,
                width,
            ),
            extent,
            step,
        )

    def _pixels(self, dataset: Any, indexes: Sequence[int], **where: Any) -> Pixels:
        values = dataset.read(list(indexes), out_dtype="float32", **where)
        return Pixels(values, self._valid(dataset, values, indexes, **where))

    def _valid(
        self, dataset: Any, values: NDArray[np.float32], indexes: Sequence[int], **where: Any
    ) -> NDArray[np.bool_]:
        """Where all of the bands just read are valid; numbers that are not finite become 0."""
        valid = np.ones(values.shape[1:], np.bool_)
        slow = []
        for plane, index in zip(values, indexes, strict=True):
            nodata = self._simple_nodata[index - 1]
            if nodata is None:
                slow.append(index)
            elif not math.isnan(nodata):
                np.logical_and(valid, plane != np.float32(nodata), out=valid)
            if is_floating(self.dtypes[index - 1]):
                finite = np.isfinite(plane)
                if not finite.all():
                    plane[~finite] = 0
                    valid &= finite
        if slow:
            masks = dataset.read_masks(slow, **_mask_shape(where, len(slow)))
            valid &= masks.all(axis=0)
        if self._unread_alpha is not None:
            valid &= dataset.read(self._unread_alpha, **_plane_shape(where)) > 0
        return valid

    @property
    def label(self) -> str:
        return public(self.path)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """What GDAL reads: the file, its side-cars, and those that a virtual raster names."""
        return self.handle.use("list its files", lambda dataset: tuple(dataset.files))

    @property
    def spectral(self) -> int:
        return sum(colour != ColorInterp.alpha for colour in self.colours)

    @cached_property
    def _unread_alpha(self) -> int | None:
        """An alpha band that GDAL's masks leave out: GDAL heeds only those of 2 or 4 bands."""
        heeded = any(MaskFlags.alpha in flags for flags in self._mask_flags)
        alphas = [i for i, c in enumerate(self.colours, 1) if c == ColorInterp.alpha]
        return alphas[0] if alphas and not heeded else None

    @cached_property
    def _mask_flags(self) -> tuple[list[MaskFlags], ...]:
        """Per band, how GDAL marks missing pixels: 30 µs a band to ask."""
        return self.handle.use(
            "read how it marks missing pixels", lambda dataset: tuple(dataset.mask_flag_enums)
        )

    @cached_property
    def _simple_nodata(self) -> tuple[float | None, ...]:
        """Per band: a nodata value that comparing finds, NaN for no mask, None to ask GDAL."""
        values: list[float | None] = []
        for flags, dtype, nodata in zip(self._mask_flags, self.dtypes, self.nodatas, strict=True):
            if flags == [MaskFlags.all_valid]:
                values.append(math.nan)
            elif flags == [MaskFlags.nodata] and dtype in _EXACT and _fits(nodata, dtype):
                values.append(nodata)
            else:
                values.append(None)
        return tuple(values)

    def mask_source(self, indexes: Sequence[int]) -> str:
        said: dict[str, None] = {}
        for index in indexes:
            flags = self._mask_flags[index - 1]
            if MaskFlags.alpha in flags or self._unread_alpha is not None:
                said["alpha band"] = None
            if flags == [MaskFlags.per_dataset]:
                said["mask of the file (internal or .msk)"] = None
            elif MaskFlags.nodata in flags:
                said[f"nodata {self.nodatas[index - 1]:g}"] = None
            if is_floating(self.dtypes[index - 1]):
                said["numbers that are not finite"] = None
        return ", ".join(said)

    def split(self) -> "RasterSource | None":
        """The same file, open once more; None where two readers would fetch the same blocks.

        Separate readers of separate bands need different blocks, unless a block holds all bands or
        one mask covers them all.
        """
        apart = not self.interleaved and self._unread_alpha is None
        if not (is_remote(self.path) and apart and None not in self._simple_nodata):
            return None
        return replace(self, handle=self.handle.again())

    def keep(self, used: int, *, overviews: bool = True) -> None:
        """Have a remote file fetched once where a sample and then reading would fetch it twice.

        A sample is read from overviews. Without any it takes the whole of its bands, and so does
        JPEG 2000, whose overviews lie among the pixels. GDAL keeps 16 MiB of what it fetched.

        Args:
            used: how many of its bands will be read.
            overviews: the sample may come from overviews.
        """
        pixels = self.grid.height * self.grid.width
        stored = pixels * sum(np.dtype(dtype).itemsize for dtype in self.dtypes)
        wavelets = self.driver.startswith("JP2")
        if (
            self.handle.is_remote
            and stored > _REMEMBERED
            and (wavelets or (self.driver == "GTiff" and pixels <= LARGEST_SCANNED))
            and (self.interleaved or used >= _MOST * len(self.dtypes))
            and (wavelets or not overviews or not self.has_overviews(1))
        ):
            self.handle.keep()

    def close(self) -> None:
        self.handle.close()


def _tags(dataset: Any, index: int) -> dict[str, str]:
    """Metadata tags of a band, or of the dataset (0), with STAC's names whole.

    GDAL splits `s2:processing_baseline=05.09` at the colon when it reads it.
    """
    tags = {}
    for key, value in dataset.tags(index).items():
        name, equals, rest = value.partition("=")
        if key in _STAC_PREFIXES and equals and re.fullmatch(r"\w+", name):
            key, value = f"{key}:{name}", rest
        tags[key] = value
    for key in _STAC_TAGS:
        value = dataset.get_tag_item(key, bidx=index)
        if value is not None:
            tags[key] = value
    return tags


def _mask_shape(where: dict[str, Any], count: int) -> dict[str, Any]:
    if "out_shape" in where:
        return {**where, "out_shape": (count, *where["out_shape"][1:])}
    return where


def _plane_shape(where: dict[str, Any]) -> dict[str, Any]:
    return {"out_shape": where["out_shape"][1:]} if "out_shape" in where else where


def _fits(nodata: float | None, dtype: str) -> bool:
    limits = np.iinfo(dtype)
    return nodata is not None and nodata.is_integer() and limits.min <= nodata <= limits.max
