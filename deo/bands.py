"""Bands by name, in a stated order, and pixels of them; the orders that the models take."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from deo.errors import BandError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.sensors.registry import bands_by_name, canonical_name
from deo.sensors.table import Band

if TYPE_CHECKING:  # bands are named by `deo --help`, which does not pay for NumPy
    import numpy as np
    from numpy.typing import NDArray


AERIAL_MEAN = (0.4182007312774658, 0.4214799106121063, 0.3991275727748871)
AERIAL_STD = (0.28774282336235046, 0.27541765570640564, 0.2764017581939697)
"""fMoW-RGB statistics for values in 0..1, in the order red, green, blue."""


@dataclass(frozen=True)
class BandSet:
    """Bands in a stated order, each once. Iterates over canonical names.

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
                    f"unknown band {text!r}; known are {', '.join(bands_by_name())} "
                    f"and {', '.join(band.common_name for band in bands_by_name().values())}"
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
        return tuple(bands_by_name()[name] for name in self.names)

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
"""All thirteen bands of Sentinel-2 in ESA's product order."""


class Pixels(NamedTuple):
    """Pixels of named bands on the pretraining scale.

    values: (C, H, W) float32, digital numbers: reflectance x 10 000 without offset; finite, and
        0 where not valid when a scene gave them.
    valid: (H, W) bool, True where every one of the bands holds a measurement.
    """

    values: "NDArray[np.float32]"
    valid: "NDArray[np.bool_]"
