"""A synthetic Sentinel-2 scene: fields, a river, a town, a forest. None of it was measured.

Every class has one rounded surface reflectance per band, of the height and shape that published
spectral libraries (ECOSTRESS, USGS) show for it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from deo.bands import BandSet

BANDS = BandSet(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))

_REFLECTANCE: dict[str, tuple[int, ...]] = {  # x 10 000, in the order of BANDS
    "water": (420, 400, 270, 230, 170, 160, 130, 120, 60, 40),
    "sand": (1150, 1450, 1700, 1850, 1950, 2050, 2150, 2250, 2800, 2500),
    "forest": (230, 400, 230, 700, 2050, 2650, 2850, 3000, 1400, 620),
    "meadow": (420, 780, 620, 1200, 2500, 2950, 3150, 3300, 2250, 1300),
    "maize": (330, 680, 360, 1050, 3250, 4150, 4450, 4550, 1950, 950),
    "wheat": (620, 950, 1150, 1600, 2300, 2550, 2700, 2850, 2900, 2050),
    "rapeseed": (520, 1150, 950, 1550, 3000, 3600, 3800, 3900, 2050, 1150),
    "stubble": (820, 1180, 1520, 1850, 2150, 2380, 2550, 2750, 3550, 2750),
    "bare soil": (780, 1020, 1350, 1600, 1780, 1930, 2080, 2220, 2850, 2500),
    "roof": (1250, 1480, 1950, 2100, 2200, 2300, 2400, 2450, 2750, 2550),
    "pavement": (1050, 1150, 1250, 1300, 1350, 1400, 1450, 1500, 1700, 1650),
    "garden": (420, 700, 520, 1050, 2200, 2600, 2750, 2900, 1900, 1050),
}
CLASSES = tuple(_REFLECTANCE)
_CROPS = ("meadow", "maize", "wheat", "rapeseed", "stubble", "bare soil")
_BLURRED = frozenset(("B05", "B06", "B07", "B8A", "B11", "B12"))
"""Bands of 20 m: seen through a wider point spread on the grid of 10 m."""

_Mask = NDArray[np.bool_]
_Field = NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticScene:
    """Digital numbers (10, size, size) uint16, 0 where invalid, and what each place is.

    `classes` holds positions in `CLASSES`.
    """

    pixels: NDArray[np.uint16]
    classes: NDArray[np.uint8]


def synthesise(*, size: int = 640, seed: int = 0) -> SyntheticScene:
    """Draw a scene of `size` pixels of 10 m.

    One corner is cut off by the edge of the swath and a cloud is masked out of it; both are 0.
    """
    rng = np.random.default_rng(seed)
    classes, tone = _land_cover(size, rng)
    spectra = np.array([_REFLECTANCE[name] for name in CLASSES], np.float32) / 10_000
    pixels = np.empty((len(BANDS), size, size), np.float32)
    haze = _smooth(rng, size, 90) * 0.003
    for position, band in enumerate(BANDS):
        surface = spectra[classes, position] * tone
        seen = _blur(surface, 1.0 if band in _BLURRED else 0.6) + haze
        pixels[position] = seen + rng.normal(0, 0.0015, seen.shape)
    numbers = np.clip(np.rint(pixels * 10_000), 1, 65_535).astype(np.uint16)
    numbers[:, _hidden(size, rng)] = 0
    return SyntheticScene(numbers, classes)


def write_scene(path: Path, *, size: int = 640, seed: int = 0) -> SyntheticScene:
    """Write `synthesise` as a GeoTIFF: UTM zone 31N, named bands, nodata 0, tagged as synthetic."""
    scene = synthesise(size=size, seed=seed)
    profile = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": len(BANDS),
        "dtype": "uint16",
        "nodata": 0,
        "crs": CRS.from_epsg(32631),
        "transform": from_origin(500_000, 4_850_000, 10, 10),
        "tiled": True,
        "compress": "deflate",
        "predictor": 2,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(scene.pixels)
        file.descriptions = tuple(BANDS)
        file.scales = (0.0001,) * len(BANDS)
        file.offsets = (0.0,) * len(BANDS)
        file.update_tags(DESCRIPTION="Synthetic Sentinel-2 scene made by `deo demo`; not measured")
    return scene


def _land_cover(size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], _Field]:
    """Class and brightness factor of every pixel."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    classes, tone = _fields(rows, columns, rng)
    tone *= 1 + 0.05 * _smooth(rng, size, 12) + 0.03 * _smooth(rng, size, 2)

    wooded = _smooth(rng, size, 45) + 1.6 * _hill(
        rows, columns, 0.2 * size, 0.24 * size, 0.2 * size
    )
    forest = wooded > 1.15
    classes[forest] = CLASSES.index("forest")
    tone[forest] = (1 + 0.18 * _smooth(rng, size, 1.2))[forest]

    centre = 0.62 * size + 0.11 * size * np.sin(rows / size * 7.5 + 0.6)
    centre += 0.03 * size * np.sin(rows / size * 19)
    distance = np.abs(columns - centre) / (1 + 0.002 * rows)
    town = _town(classes, tone, rows, columns, rng)
    bank = (distance < 0.019 * size) & ~town
    classes[bank] = CLASSES.index("sand")
    river = distance < 0.015 * size
    classes[river] = CLASSES.index("water")
    tone[river] = (1 + 0.04 * _smooth(rng, size, 10))[river]

    road = (np.abs(0.34 * columns + rows - 0.83 * size) < 0.9) & ~river
    classes[road] = CLASSES.index("pavement")
    return classes, tone


def _fields(
    rows: _Field, columns: _Field, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], _Field]:
    """Parcels: the cells of a jittered, turned grid of points, each with one crop."""
    size = rows.shape[0]
    step, angle = 44.0, 0.35
    u = (columns * np.cos(angle) + rows * np.sin(angle)) / (1.5 * step)
    v = (rows * np.cos(angle) - columns * np.sin(angle)) / step
    reach = int(2 * size / step) + 4
    jitter = rng.uniform(-0.33, 0.33, (2, reach, reach))
    crop = rng.integers(len(_CROPS), size=(reach, reach))
    shade = rng.normal(1, 0.07, (reach, reach))
    furrow = rng.uniform(0, np.pi, (reach, reach))

    nearest = np.full(rows.shape, np.inf)
    owner = np.zeros((2, *rows.shape), np.int64)
    home = np.floor(np.stack([v, u])).astype(np.int64)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell = home + np.array([down, right])[:, None, None]
            place = (cell[0] % reach, cell[1] % reach)
            away = np.hypot(
                v - cell[0] - 0.5 - jitter[0][place], u - cell[1] - 0.5 - jitter[1][place]
            )
            nearer = away < nearest
            nearest[nearer] = away[nearer]
            owner[:, nearer] = np.stack(place)[:, nearer]
    parcel = (owner[0], owner[1])
    direction = furrow[parcel]
    stripes = np.sin(0.9 * (rows * np.cos(direction) + columns * np.sin(direction)))
    lookup = np.array([CLASSES.index(name) for name in _CROPS], np.uint8)
    tone = shade[parcel] * (1 + 0.025 * stripes)
    return lookup[crop[parcel]], tone.astype(np.float32)


def _town(
    classes: NDArray[np.uint8],
    tone: _Field,
    rows: _Field,
    columns: _Field,
    rng: np.random.Generator,
) -> _Mask:
    """Build a town into `classes` and `tone`; returns where it stands."""
    size = rows.shape[0]
    density = 1.25 * _hill(rows, columns, 0.66 * size, 0.44 * size, 0.13 * size)
    density += 0.12 * _smooth(rng, size, 14)
    town = density > 0.45
    u, v = columns * 0.94 + rows * 0.34, rows * 0.94 - columns * 0.34
    street = (np.mod(u, 13) < 1.3) | (np.mod(v, 11) < 1.3)
    lot = rng.random((size, size)).repeat(2, 0).repeat(2, 1)[:size, :size]
    built = lot < np.clip(density, 0, 0.85)
    ground = np.where(built, CLASSES.index("roof"), CLASSES.index("garden"))
    ground = np.where(street, CLASSES.index("pavement"), ground)
    classes[town] = ground[town]
    tone[town] = (1 + 0.16 * (lot - 0.5))[town]
    return np.asarray(town)


def _hidden(size: int, rng: np.random.Generator) -> _Mask:
    """Places without data: the edge of the swath, and a masked cloud."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    swath = columns > 0.93 * size + 0.22 * (size - rows) - 0.05 * size
    cloud = _hill(rows, columns, 0.1 * size, 0.5 * size, 0.06 * size) + 0.12 * _smooth(rng, size, 9)
    return np.asarray(swath | (cloud > 0.6))


def _hill(rows: _Field, columns: _Field, row: float, column: float, width: float) -> _Field:
    """A Gaussian bump of height 1."""
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))


def _smooth(rng: np.random.Generator, size: int, scale: float) -> _Field:
    """Random field of unit variance that varies over `scale` pixels."""
    field = _blur(rng.standard_normal((size, size)).astype(np.float32), scale)
    return np.asarray(field / field.std(), np.float32)


def _blur(image: _Field, sigma: float) -> _Field:
    """Gaussian blur, by Fourier transform on a mirrored image."""
    mirrored = np.pad(image, [(0, n) for n in image.shape], mode="symmetric")
    down = np.fft.fftfreq(mirrored.shape[0])[:, None]
    across = np.fft.rfftfreq(mirrored.shape[1])[None, :]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (down**2 + across**2))
    blurred = np.fft.irfft2(np.fft.rfft2(mirrored) * response, mirrored.shape)
    return np.asarray(blurred[: image.shape[0], : image.shape[1]], np.float32)
