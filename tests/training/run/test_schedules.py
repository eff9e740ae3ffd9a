"""Schedules against the published arrays."""

from pathlib import Path

import numpy as np
import pytest

from deo.training.run.schedules import Cosine, EpochCosine

COMMITTED = Path(__file__).parents[2] / "golden" / "schedules.npz"
PUBLISHED = {
    "lr": Cosine(base=5e-4, final=1e-6, steps=3700, warmup=370),
    "wd": Cosine(base=0.04, final=0.4, steps=3700),
    "momentum": Cosine(base=0.996, final=1.0, steps=3700),
    "lr_nowarm": Cosine(base=1e-3, final=1e-5, steps=15),
    "lr_allwarm": Cosine(base=1e-3, final=1e-5, steps=15, warmup=10, start=1e-6),
    "readme_lr_4gpu": Cosine(base=5e-4, final=1e-6, steps=195300, warmup=19530),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_cosine__published_values(name: str) -> None:
    with np.load(COMMITTED) as golden:
        at, values, length = golden[f"{name}/at"], golden[name], int(golden[f"{name}/length"])
    schedule = PUBLISHED[name]
    assert schedule.steps == length
    np.testing.assert_allclose([schedule(int(i)) for i in at], values, rtol=1e-12, atol=1e-18)


def test_cosine__every_published_value(shared: Path) -> None:
    with np.load(shared / "golden" / "training" / "schedules.npz") as golden:
        for name in ("lr", "wd", "momentum", "lr_nowarm", "lr_allwarm"):
            values = [PUBLISHED[name](step) for step in range(len(golden[name]))]
            np.testing.assert_allclose(values, golden[name], rtol=1e-12, atol=1e-18)


def test_cosine__past_the_end_is_final() -> None:
    schedule = Cosine(base=1.0, final=0.25, steps=4, warmup=1)
    assert [schedule(step) for step in (0, 1, 4, 100)] == [0.0, 1.0, 0.25, 0.25]


@pytest.mark.parametrize(("steps", "warmup"), [(3, 4), (0, 0), (3, -1)])
def test_cosine__refuses_impossible_lengths(steps: int, warmup: int) -> None:
    with pytest.raises(ValueError, match="warm-up"):
        Cosine(base=1, final=0, steps=steps, warmup=warmup)


def test_epoch_cosine__starts_above_zero_peaks_after_the_warm_up_and_ends_at_zero() -> None:
    schedule = EpochCosine(base=2.0, epochs=12, warmup=2)
    values = [schedule(epoch) for epoch in (0.0, 0.05, 1.0, 2.0, 7.0, 12.0)]
    np.testing.assert_allclose(values, [0.1, 0.1, 1.0, 2.0, 1.0, 0.0], atol=1e-12)
    assert EpochCosine(base=2.0, epochs=3)(0.0) == 2.0
