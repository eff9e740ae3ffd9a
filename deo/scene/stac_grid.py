"""Where a STAC item says that its files lie, held against where they do."""

from collections.abc import Mapping
from typing import Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from deo.errors import SceneError
from deo.scene.grid import Grid
from deo.scene.stac_item import StacItem

_OFF = 0.01  # of a pixel, by which a stated transform may differ


def check_grid(grid: Grid, asset: Mapping[str, Any], item: StacItem, key: str) -> None:
    """Refuse a file that does not lie where an item's `proj:` fields say.

    Args:
        grid: of the file.
        asset: the item's asset under `key`. Its shape and transform count, not the item's own,
            which are often those of the finest asset.

    Raises:
        SceneError: another reference system, shape or transform is stated.
    """
    said = f"{item.name}, asset {key}: the item says"
    code = _code(asset) or _code(item.properties)
    if code is not None:
        try:
            stated = CRS.from_user_input(code)
        except CRSError as error:
            raise SceneError(f"{said} {code}, which is no reference system: {error}") from error
        if stated != grid.crs:
            raise SceneError(f"{said} {code}, and the file is in {grid.crs or 'none'}")
    shape = asset.get("proj:shape")
    if isinstance(shape, list) and shape != [grid.height, grid.width]:
        raise SceneError(
            f"{said} {' x '.join(map(str, shape))} pixels, and the file has {grid.height} x "
            f"{grid.width}"
        )
    numbers = asset.get("proj:transform")
    if isinstance(numbers, list):
        if len(numbers) < 6 or not all(isinstance(each, int | float) for each in numbers):
            raise SceneError(f"{said} that its transform is {numbers}, which are not six numbers")
        transform = Affine(*numbers[:6])
        corners = [(0, 0), (grid.width, 0), (0, grid.height)]
        away = max(
            abs(a - b)
            for corner in corners
            for a, b in zip(transform @ corner, grid.transform @ corner, strict=True)
        )
        if away > _OFF * max(grid.pixel):
            raise SceneError(
                f"{said} that its transform is {tuple(transform)[:6]}, and the file's is "
                f"{tuple(grid.transform)[:6]}"
            )


def _code(fields: Mapping[str, Any]) -> str | None:
    code, number = fields.get("proj:code"), fields.get("proj:epsg")
    if isinstance(code, str):
        return code
    return f"EPSG:{number}" if isinstance(number, int) else None
