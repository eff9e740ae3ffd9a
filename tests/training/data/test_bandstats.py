"""Statistics of bands, added up sample by sample and part by part."""

import numpy as np
import pytest

from deo.training.data.bandstats import BandStatistics


def test_band_statistics__of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(1, 9000, (6, 2, 5, 5), dtype=np.uint16)
    parts = [BandStatistics.empty(2), BandStatistics.empty(2)]
    for number, sample in enumerate(samples):
        parts[number % 2] = parts[number % 2].plus(sample)
    kept = [BandStatistics.from_record(part.record()) for part in parts]
    rows = kept[0].merged(kept[1]).rows(["red", "blue"])
    for band, name in enumerate(("red", "blue")):
        seen = samples[:, band].astype(float)
        assert rows[name]["mean"] == pytest.approx(seen.mean())
        assert rows[name]["std"] == pytest.approx(seen.std())
        assert (rows[name]["min"], rows[name]["max"]) == (seen.min(), seen.max())


def test_band_statistics__missing_pixels_do_not_count() -> None:
    sample = np.array([[[0, 0, 4]], [[0, 6, 8]]], np.uint16)
    rows = BandStatistics.empty(2).plus(sample).rows(["red", "blue"])
    assert rows["red"] == {"mean": 2.0, "std": 2.0, "min": 0.0, "max": 4.0}
    assert rows["blue"]["mean"] == 7.0
    assert BandStatistics.empty(2).plus(np.zeros_like(sample)).rows(["red", "blue"]) == {}
