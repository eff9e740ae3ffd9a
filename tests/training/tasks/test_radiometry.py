"""Numbers that are hardly digital numbers are spoken of, and left as they are."""

from pathlib import Path

import numpy as np
import pytest

from deo.bands import MODEL_BANDS, BandSet
from deo.training.tasks.dataset import Sample, Split, Unit
from deo.training.tasks.radiometry import warn_of_doubtful_numbers


class Numbers:
    """Samples of one range of numbers."""

    def __init__(self, low: float, high: float, bands: BandSet = MODEL_BANDS) -> None:
        self.low, self.high, self.bands = low, high, bands

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"all": ("0", "1")}

    def read(self, root: Path, name: str) -> Sample:
        rng = np.random.default_rng(int(name))
        image = rng.uniform(self.low, self.high, (len(self.bands), 8, 8)).astype(np.float32)
        return Sample(image, np.asarray(0), np.ones((8, 8), bool))


def split(layout: Numbers) -> Split:
    return Split(root=Path("data"), layout=layout, names=("0", "1"), bands=layout.bands, classes=1)


@pytest.mark.parametrize(
    ("layout", "unit", "says"),
    [
        (Numbers(100, 4000), Unit.DN, ""),
        (Numbers(0.01, 0.4), Unit.DN, "give --scale 10000"),
        (Numbers(0.01, 0.4), Unit.REFLECTANCE, ""),
        (Numbers(0.01, 0.4), Unit.BYTE, ""),
        (Numbers(1100, 5000), Unit.DN, "give --offset -1000"),
        (Numbers(1100, 5000, BandSet("B08,B11")), Unit.DN, ""),  # vegetation is as bright there
        (Numbers(0, 0), Unit.DN, ""),
    ],
)
def test_warn_of_doubtful_numbers(
    layout: Numbers, unit: Unit, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_doubtful_numbers(split(layout), unit)
    assert len(caplog.records) == bool(says)
    assert says in caplog.text
