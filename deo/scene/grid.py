"""Grids of pixels, and how one lies on another."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from affine import Affine
from numpy.typing import NDArray

from deo.errors import SceneError

_TOLERANCE = 0.01  # of a pixel, for corners that ought to coincide
_LARGEST_SIDE = 2**20  # pixels


class Extent(NamedTuple):
    """A part of a grid in its pixels, which may end between two of them."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows and columns of pixels on the ground.

    Args:
        height, width: in pixels.
        crs: a `rasterio.crs.CRS`, or None.
        transform: (column, row) of pixel corners to coordinates.
        georeferenced: whether the transform was stated.
    """

    height: int
    width: int
    crs: Any
    transform: Affine
    georeferenced: bool = True

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def extent(self) -> Extent:
        """All of it."""
        return Extent(0.0, 0.0, float(self.height), float(self.width))

    def at_resolution(self, size: float) -> "Grid":
        """The same corner and extent in pixels of another size (the last may reach past it)."""
        across, down = self.pixel
        if not (math.isfinite(size) and size > 0):
            raise SceneError(f"resolution {size} must be above 0 and finite")
        columns, rows = self.width * across / size, self.height * down / size
        if not (max(columns, rows) <= _LARGEST_SIDE and min(columns, rows) >= 1):
            raise SceneError(
                f"resolution {size:g} would make {columns:.6g} x {rows:.6g} pixels; the pixels are "
                f"{across:g} x {down:g} in units of the CRS, and resolution is in the same units"
            )
        return Grid(
            height=math.ceil(rows - _TOLERANCE),
            width=math.ceil(columns - _TOLERANCE),
            crs=self.crs,
            transform=self.transform @ Affine.scale(size / across, size / down),
            georeferenced=self.georeferenced,
        )


class Turn(NamedTuple):
    """How a picture of a raster is turned: rows and columns swapped, then the order of each."""

    swap: bool = False
    flip_rows: bool = False
    flip_cols: bool = False

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image (height, width, ...), turned."""
        turned = image.swapaxes(0, 1) if self.swap else image
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of an image, turned."""
        return (height, width) if self.swap else (width, height)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in fractions of the width and height, once the image is turned."""
        if self.swap:
            x, y = y, x
        return (1 - x if self.flip_cols else x), (1 - y if self.flip_rows else y)


def upright(transform: Affine) -> Turn:
    """The turn that puts y up and x to the right; none for rows that run obliquely."""
    t = transform
    across, along = max(abs(t.a), abs(t.e)), max(abs(t.b), abs(t.d))
    if along < 1e-6 * across:
        return Turn(False, t.e > 0, t.a < 0)
    if across < 1e-6 * along:
        return Turn(True, t.d > 0, t.b < 0)
    return Turn()


class Line(NamedTuple):
    """How pixels along one axis of a grid lie on another: other = scale x own + shift."""

    scale: float
    shift: float


class Relation(NamedTuple):
    """Where a grid's pixels lie on another grid."""

    rows: Line
    cols: Line

    @property
    def same(self) -> bool:
        return self.rows == self.cols == Line(1.0, 0.0)

    @property
    def kernel(self) -> str:
        finest = min(self.rows.scale, self.cols.scale)
        if finest == 1:
            return "copy"
        return "bilinear" if finest < 1 else "average"


def relate(own: Grid, other: Grid, *, label: str) -> Relation:
    """Where the pixels of `own` lie on `other`, called `label` in messages.

    Raises:
        SceneError: another CRS, another direction, no overlap, or corners that lie between pixels.
    """
    if own.crs != other.crs:
        raise SceneError(
            f"{label} has a different CRS from the finest band: {_crs(other)} against {_crs(own)}; "
            f"warp it first (gdalwarp -t_srs)"
        )
    if not own.georeferenced and not other.georeferenced:
        # nothing says where they lie: the same extent, as in folders of unreferenced bands
        return Relation(Line(other.height / own.height, 0.0), Line(other.width / own.width, 0.0))
    t = ~other.transform @ own.transform  # from pixels of `own` to pixels of `other`
    if not all(map(math.isfinite, t)):
        raise SceneError(
            f"{label} has a transform that cannot be compared with the finest band's: "
            f"{tuple(other.transform)[:6]} against {tuple(own.transform)[:6]}"
        )
    if abs(t.b) > 1e-6 or abs(t.d) > 1e-6 or t.a <= 0 or t.e <= 0:
        raise SceneError(
            f"{label} runs in a different direction from the finest band; warp it first (gdalwarp)"
        )
    rows, cols = Line(_tidy(t.e), _tidy(t.f)), Line(_tidy(t.a), _tidy(t.c))
    for line, name, length, own_length in (
        (rows, "rows", other.height, own.height),
        (cols, "columns", other.width, own.width),
    ):
        # how far apart the corners are in pixels of `own`: only whole ones keep kernels alike
        steps = line.shift / line.scale
        if min(1.0, line.scale) * abs(steps - round(steps)) > _TOLERANCE:
            raise SceneError(
                f"{label} is not aligned with the finest band: its {name} begin "
                f"{steps:.3f} pixels away; warp it first (gdalwarp -tap)"
            )
        if line.shift >= length or line.scale * own_length + line.shift <= 0:
            raise SceneError(f"{label} does not overlap the finest band")
    return Relation(rows, cols)


def _tidy(number: float) -> float:
    """Without the rounding noise of inverse transforms."""
    nearest = round(number * 5040) / 5040  # 5040: every ratio of resolutions up to 10
    return float(nearest) if abs(number - nearest) < 1e-6 * max(1.0, abs(number)) else number


def _crs(grid: Grid) -> str:
    return str(grid.crs)[:80] if grid.crs else "none"
