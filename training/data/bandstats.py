"""Mean, deviation and range of each band, added up sample by sample or part by part."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class BandStatistics(NamedTuple):
    """Sums over pixels, each of shape (C,) float64. Pixels that are 0 in every band are nodata."""

    pixels: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @classmethod
    def empty(cls, bands: int) -> Self:
        zero = np.zeros(bands)
        return cls(zero, zero, zero, np.full(bands, np.inf), np.full(bands, -np.inf))

    def plus(self, sample: NDArray[Any]) -> "BandStatistics":
        """With one sample (C, H, W) added."""
        seen = sample[:, (sample != 0).any(axis=0)].astype(np.float64)
        if not seen.size:
            return self
        return self.merged(
            BandStatistics(
                np.full(len(seen), float(seen.shape[1])),
                seen.sum(axis=1),
                np.square(seen).sum(axis=1),
                seen.min(axis=1),
                seen.max(axis=1),
            )
        )

    def merged(self, other: "BandStatistics") -> "BandStatistics":
        return BandStatistics(
            self.pixels + other.pixels,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Mean, std, min and max of every band that has pixels, by name."""
        return {
            name: {
                "mean": float(self.total[i] / self.pixels[i]),
                "std": float(
                    max(
                        0.0,
                        self.squares[i] / self.pixels[i] - (self.total[i] / self.pixels[i]) ** 2,
                    )
                    ** 0.5
                ),
                "min": float(self.minimum[i]),
                "max": float(self.maximum[i]),
            }
            for i, name in enumerate(names)
            if self.pixels[i]
        }

    def record(self) -> dict[str, list[float]]:
        """Plain lists, for JSON (infinities of an empty part included, as Python writes them)."""
        return {name: values.tolist() for name, values in self._asdict().items()}

    @classmethod
    def from_record(cls, record: dict[str, list[float]]) -> Self:
        return cls(**{name: np.asarray(values) for name, values in record.items()})
