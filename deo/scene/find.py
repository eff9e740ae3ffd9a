"""From what a user points at to chosen assets: which kind of source, which bands, which file."""

import math
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from deo.bands import BandSet
from deo.errors import BandError, SceneError
from deo.files.junk import is_junk
from deo.scene.assets import Asset, ClassLayer, Inventory, file_assets, folder_files, raster_assets
from deo.scene.earth import check_proj
from deo.scene.formats import Door
from deo.scene.gdal import is_remote
from deo.scene.grid import Grid
from deo.scene.safe import Image, Tree, folder_tree, product_root, read_product, zip_tree
from deo.scene.sources import ArraySource

_DRIVER_PREFIX = re.compile(r"[A-Za-z]\w+:")  # NETCDF:"x.nc":band, file:///x.tif


def array_assets(
    array: NDArray[Any], bands: BandSet | None, *, nodata: float | None, crs: Any, transform: Any
) -> Inventory:
    """The bands of an array in memory."""
    if bands is None:
        raise BandError(
            "an array does not name its bands; give their names in order: bands=('B04', 'B03', ...)"
        )
    if array.ndim != 3 or len(array) != len(bands) or not array.size:
        raise BandError(
            f"an array of {len(bands)} bands ({bands}) must have the shape ({len(bands)}, height, "
            f"width), got {array.shape}"
        )
    if array.dtype.kind not in "uif":
        raise SceneError(f"the numbers of an array must be real, got {array.dtype}")
    valid: NDArray[np.bool_] | None = None
    if isinstance(array, np.ma.MaskedArray):
        valid = np.asarray(~np.ma.getmaskarray(array).any(axis=0))
        array = array.data
    grid = Grid(
        height=array.shape[1],
        width=array.shape[2],
        crs=parse_crs(crs),
        transform=Affine.identity() if transform is None else parse_transform(transform),
        georeferenced=transform is not None,
    )
    source = ArraySource(path="array", array=array, valid=valid, grid=grid, nodata=nodata)
    assets = (
        Asset(band=band, source=source, index=index + 1, evidence=())
        for index, band in enumerate(bands)
    )
    return Inventory("array", tuple(assets), "the caller")


def parse_transform(transform: Any) -> Affine:
    """A transform that the caller gives, as it is or as its six numbers.

    Raises:
        SceneError: it cannot place pixels.
    """
    try:
        parsed = transform if isinstance(transform, Affine) else Affine(*transform)
        usable = all(map(math.isfinite, parsed)) and not parsed.is_degenerate
    except TypeError:
        usable = False
    if not usable:
        raise SceneError(
            f"transform {transform!r} cannot place pixels; give an affine.Affine, or its six "
            "numbers (a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f"
        )
    return parsed


def parse_crs(crs: Any) -> Any:
    """A reference system in any form that rasterio takes; None stays None.

    Raises:
        SceneError: it cannot be understood.
    """
    if crs is None:
        return None
    check_proj()
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise SceneError(f"crs {crs!r} cannot be understood: {error}") from error


def find(
    source: Any,
    *,
    door: Door,
    bands: BandSet | None,
    resolution: float | None,
    overruled: bool,
) -> Inventory:
    """Whatever kind of source it is, its named bands."""
    if not isinstance(source, str | os.PathLike):
        if not isinstance(source, Sequence) or not source:
            raise SceneError(
                f"cannot make a scene of {type(source).__name__} {str(source)[:100]!r}; give a "
                "path, a list of paths, or an array, of NumPy (C, H, W) or of xarray"
            )
        paths = [_plain_path(os.fspath(part)) for part in source]
        return file_assets(paths, door=door, bands=bands, overruled=overruled)
    text = _plain_path(os.fspath(source))
    path = Path(text)
    if not is_remote(text) and not text.startswith("/vsi"):
        _check_local(text)
        product = _product(path)
        if product is not None:
            tree, granule = product
            safe = read_product(tree)
            images = safe.select(granule=granule, bands=bands, resolution=resolution)
            if not images:
                raise BandError(
                    f"{safe.name} holds no image of {bands}; it has "
                    f"{', '.join(dict.fromkeys(image.band for image in safe.images))}"
                )
            files = [image.path for image in images]
            members = file_assets(
                files, door=Door.MEMBER, overruled=overruled, product=safe.evidence
            )
            classes = [each for each in safe.classes if each.granule == images[0].granule]
            return members._replace(name=safe.name, classification=_class_layer(classes))
        if path.is_dir():
            inside = file_assets(folder_files(path), door=Door.FOUND, overruled=overruled)
            return inside._replace(name=path.resolve().name)
    return raster_assets(text, door=door, bands=bands, overruled=overruled)


def _class_layer(classes: Sequence[Image]) -> ClassLayer | None:
    """The finest of a product's scene classifications."""
    if not classes:
        return None
    finest = min(classes, key=lambda image: (image.resolution, image.path))
    return ClassLayer(finest.path, 1, Door.MEMBER)


def _plain_path(text: str) -> str:
    """The path that a `file://` URL means; any other text as it is."""
    if not text.lower().startswith("file://"):
        return text
    path = text[len("file://") :]
    if path.lower().startswith("localhost/"):
        path = path[len("localhost") :]
    return path if os.path.exists(path) else unquote(path)


def _check_local(text: str) -> None:
    """Refuse what is neither a file nor a folder; a prefix of GDAL is judged when it is opened."""
    try:
        mode = os.stat(text).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if _DRIVER_PREFIX.match(text):
            return
        raise SceneError(f"{text} does not exist") from error
    except (OSError, ValueError) as error:
        raise SceneError(f"{text} cannot be opened: {error}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SceneError(f"{text} is neither a file nor a folder")


class _Product(NamedTuple):
    tree: Tree
    granule: str | None


def _product(path: Path) -> _Product | None:
    """The .SAFE product that a path points at as a whole: its folder, zip, XML or granule."""
    if path.suffix.lower() == ".zip" and path.is_file():
        return _Product(zip_tree(path), None)
    if path.is_file():
        if path.suffix.lower() not in (".xml", ".safe"):
            return None
        path = path.parent
    if not path.is_dir():
        return None
    inside = sorted(safe for safe in path.glob("*.SAFE") if not is_junk(safe.name))
    if len(inside) == 1 and inside[0].is_dir():
        return _Product(folder_tree(inside[0]), None)
    root = product_root(path)
    if root is None:
        if path.suffix.lower() == ".safe":
            raise SceneError(f"{path} holds no product metadata such as MTD_MSIL2A.xml")
        return None
    parts = path.relative_to(root).parts
    if not parts:
        return _Product(folder_tree(root), None)
    if parts[0] == "GRANULE" and parts[2:] in ((), ("IMG_DATA",)) and len(parts) > 1:
        return _Product(folder_tree(root), parts[1])
    return None
