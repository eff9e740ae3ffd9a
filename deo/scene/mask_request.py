"""From what a user asks for to a mask: the raster found, opened and checked against the scene."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deo.errors import ConfigError, SceneError
from deo.scene.assets import Inventory
from deo.scene.formats import Door
from deo.scene.grid import Grid
from deo.scene.mask import Mask
from deo.scene.raster import RasterSource
from deo.scene.raster_mask import RasterMask
from deo.scene.sampling import gone_through, spread_windows
from deo.sensors.registry import sensor_of

CLOUDS = "clouds"
"""The mask that a product's own scene classification makes."""


def masks_of(
    mask: str | os.PathLike[str] | Mask | None,
    classes: Sequence[int] | None,
    *,
    inventory: Inventory,
    grid: Grid,
) -> tuple[Mask, ...]:
    """The mask that a user means, checked against the scene that it is laid over; none for None.

    Args:
        mask: `clouds` for the scene classification that lies beside the bands, or a raster file;
            a `Mask` stays as it is.
        classes: the numbers that take a pixel out; None: of a classification the clouds, their
            shadows and what was not measured; of a file every number but 0.
        inventory: what the scene is made of.

    Raises:
        ConfigError: classes are given where there is no raster for them.
        SceneError: there is no classification, or the mask does not fit or leaves nothing.
    """
    if not isinstance(mask, str | os.PathLike):
        if classes is not None:
            given = "no mask is given" if mask is None else "the mask given is none"
            raise ConfigError(f"mask classes go with a raster, and {given}")
        return () if mask is None else (mask,)
    if classes is not None and not classes:
        raise ConfigError("no mask classes are given; leave them out, or name at least one")
    if mask == CLOUDS:
        return (_checked(_classification(inventory, classes, grid), inventory.name),)
    return (_checked(_file_mask(os.fspath(mask), classes, grid), inventory.name),)


def _file_mask(path: str, classes: Sequence[int] | None, grid: Grid) -> RasterMask:
    raster = RasterSource.open(path, door=Door.NAMED)
    if len(raster.dtypes) != 1:
        raster.close()
        raise SceneError(
            f"{raster.label} has {len(raster.dtypes)} bands; a mask has one, whose numbers other "
            f"than 0 are out (gdal_translate -b chooses one)"
        )
    return RasterMask(
        name=raster.label.rsplit("/", 1)[-1],
        raster=raster,
        index=1,
        grid=grid,
        classes=None if classes is None else tuple(classes),
        outside=False,
    )


def _classification(inventory: Inventory, classes: Sequence[int] | None, grid: Grid) -> RasterMask:
    """The classification that comes with the bands, opened."""
    sensor = sensor_of(inventory.assets[0].band)
    layer = inventory.classification
    if layer is None:
        name = f" ({sensor.classification})" if sensor.classification else ""
        raise SceneError(
            f"{inventory.name}: mask `clouds` needs a scene classification{name} beside the bands, "
            f"and there is none. Give a mask of your own instead: --mask FILE"
        )
    raster = RasterSource.open(layer.path, door=layer.door)
    return RasterMask(
        name=sensor.classification,
        raster=raster,
        index=layer.band,
        grid=grid,
        classes=tuple(sensor.cloud_classes if classes is None else classes),
        outside=True,
    )


def _checked(mask: RasterMask, scene: str) -> RasterMask:
    """The mask with the share that it takes, measured on every pixel up to 2**28 of them.

    Raises:
        SceneError: it does not overlap the scene, or takes all of it.
    """
    try:
        pixels = out = reached = 0
        for window in spread_windows(mask.grid.height, mask.grid.width):
            laid = mask.lay(window)
            pixels += laid.inside.size
            reached += int(np.count_nonzero(laid.inside))
            out += int(np.count_nonzero(mask.out(laid)))
        if not reached and gone_through(mask.grid):
            raise SceneError(
                f"mask {mask.raster.label} does not overlap {scene}; is it of another place?"
            )
        if out == pixels:
            raise SceneError(
                f"mask {mask.source} takes every pixel of {scene}: nothing is left to read. "
                f"Choose another scene, or other classes (--mask-classes)"
            )
    except BaseException:
        mask.raster.close()
        raise
    return replace(mask, share=round(out / pixels, 6))
