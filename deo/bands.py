"""Sentinel-2 bands by name: aliases, order and statistics. Their only home."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from deo.errors import BandError

if TYPE_CHECKING:  # bands are named by `deo --help`, which does not pay for NumPy
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Band:
    """One Sentinel-2 band.

    Args:
        name: ESA name with two characters after the B, e.g. `B02`, `B8A`.
        common_name: STAC common name, e.g. `blue`.
        wavelength: centre, in nanometres (mean of Sentinel-2A and 2B).
        resolution: native pixel size in metres: 10, 20 or 60.
        mean, std: fMoW-Sentinel statistics in digital numbers before baseline 04.00
            (reflectance x 10 000, no offset).
    """

    name: str
    common_name: str
    wavelength: float
    resolution: int
    mean: float
    std: float


def _band(
    name: str, common_name: str, wavelength: float, resolution: int, mean: float, std: float
) -> Band:
    return Band(
        name=name,
        common_name=common_name,
        wavelength=wavelength,
        resolution=resolution,
        mean=mean,
        std=std,
    )


SENTINEL2: tuple[Band, ...] = (
    _band("B01", "coastal", 442.5, 60, 1370.19151926, 633.15169573),
    _band("B02", "blue", 492.3, 10, 1184.3824625, 650.2842772),
    _band("B03", "green", 559.4, 10, 1120.77120066, 712.12507725),
    _band("B04", "red", 664.8, 10, 1136.26026392, 965.23119807),
    _band("B05", "rededge1", 704.0, 20, 1263.73947144, 948.9819932),
    _band("B06", "rededge2", 739.8, 20, 1645.40315151, 1108.06650639),
    _band("B07", "rededge3", 781.3, 20, 1846.87040806, 1258.36394548),
    _band("B08", "nir", 832.9, 10, 1762.59530783, 1233.1492281),
    _band("B8A", "nir08", 864.4, 20, 1972.62420416, 1364.38688993),
    _band("B09", "nir09", 944.1, 60, 582.72633433, 472.37967789),
    _band("B10", "cirrus", 1375.2, 60, 14.77112979, 14.3114637),
    _band("B11", "swir16", 1612.1, 20, 1732.16362238, 1310.36996126),
    _band("B12", "swir22", 2194.1, 20, 1247.91870117, 1087.6020813),
)
"""The thirteen bands in order of wavelength, which is also ESA's product order."""

_BY_NAME = {band.name: band for band in SENTINEL2}
_ALIASES = {band.common_name: band.name for band in SENTINEL2} | {
    "rededge071": "B05",
    "rededge075": "B06",
    "rededge078": "B07",
}

AERIAL_MEAN = (0.4182007312774658, 0.4214799106121063, 0.3991275727748871)
AERIAL_STD = (0.28774282336235046, 0.27541765570640564, 0.2764017581939697)
"""fMoW-RGB statistics for values in 0..1, in the order red, green, blue."""


def canonical_name(text: str) -> str | None:
    """The ESA name meant by `text` (`b2`, `B02`, `blue`, `8A`, ...), or None.

    Case, surrounding space and a missing zero or B do not matter; any other text does.
    """
    key = text.strip().lower()
    if key in _ALIASES:
        return _ALIASES[key]
    match = re.fullmatch(r"b?(\d{1,2}|0?8a)", key)
    if match is None:
        return None
    name = f"B{match[1].lstrip('0').upper().zfill(2)}"
    return name if name in _BY_NAME else None


@dataclass(frozen=True)
class BandSet:
    """Bands in a stated order, each once. Iterates over ESA names.

    Args:
        names: any accepted spelling of each; one text is taken as separated by commas.

    Raises:
        BandError: a name is unknown or repeated, or there is none.
    """

    names: tuple[str, ...]

    def __init__(self, names: Iterable[str]) -> None:
        given = tuple(names.split(",")) if isinstance(names, str) else tuple(names)
        if not given:
            raise BandError("no bands given; name at least one, for instance B04,B03,B02")
        canonical = []
        for text in given:
            name = canonical_name(text) if isinstance(text, str) else None
            if name is None:
                raise BandError(
                    f"unknown band {text!r}; known are {', '.join(_BY_NAME)} "
                    f"and {', '.join(band.common_name for band in SENTINEL2)}"
                )
            if name in canonical:
                raise BandError(f"band {name} is named twice in {', '.join(given)}; name it once")
            canonical.append(name)
        object.__setattr__(self, "names", tuple(canonical))

    @classmethod
    def parse(cls, text: str) -> "BandSet":
        """Bands from comma-separated text, e.g. `B04,B03,B02` or `red,green,blue`."""
        return cls(part for part in text.split(",") if part.strip())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __str__(self) -> str:
        return ",".join(self.names)

    @property
    def bands(self) -> tuple[Band, ...]:
        return tuple(_BY_NAME[name] for name in self.names)

    @property
    def mean(self) -> tuple[float, ...]:
        """Means in digital numbers, in this order."""
        return tuple(band.mean for band in self.bands)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviations in digital numbers, in this order."""
        return tuple(band.std for band in self.bands)

    def positions_in(self, available: Sequence[str]) -> tuple[int, ...]:
        """Where each of these bands stands in `available` (canonical names).

        Raises:
            BandError: some are not there; the message lists both sides.
        """
        missing = [name for name in self.names if name not in available]
        if missing:
            raise BandError(
                f"missing band{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
                f"wanted {self}, got {','.join(available) or 'none'}"
            )
        return tuple(list(available).index(name) for name in self.names)


MODEL_BANDS = BandSet(("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))
"""Order of the ten-channel stem: red, green, blue first, since aerial RGB stood there."""

RGB_BANDS = BandSet(("B04", "B03", "B02"))
"""Order of the three-channel stem."""

PRODUCT_BANDS = BandSet(band.name for band in SENTINEL2)
"""All thirteen in ESA's product order."""


class Pixels(NamedTuple):
    """Pixels of named bands on the pretraining scale.

    values: (C, H, W) float32, digital numbers: reflectance x 10 000 without offset; finite, and
        0 where not valid when a scene gave them.
    valid: (H, W) bool, True where every one of the bands holds a measurement.
    """

    values: "NDArray[np.float32]"
    valid: "NDArray[np.bool_]"
