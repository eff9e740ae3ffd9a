"""What a network is compared with, as a request says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deo.bands import MODEL_BANDS
from deo.training.tasks.baselines import FOREST, FREQUENT, LOGISTIC
from deo.training.tasks.dataset import Sample
from deo.training.tasks.progress import Epoch
from deo.training.tasks.request import Request
from deo.training.tasks.rivals import fit_rivals
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuneconfig import TuneConfig


class Levels:
    """Synthetic tiles of two levels, which are their classes."""

    bands = MODEL_BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"train": ("0", "1", "2", "3"), "test": ("6", "7", "8")}

    def read(self, root: Path, name: str) -> Sample:
        number = int(name)
        values = np.random.default_rng(number).normal(900 + 2000 * (number % 2), 40, (10, 32, 32))
        return Sample(values.astype(np.float32), np.asarray(number % 2), np.ones((32, 32), bool))


def test_fit_rivals__baselines_and_the_random_twin_on_the_same_units() -> None:
    torch.set_num_threads(1)
    bench = Benchmark(
        name="levels", task=Task.CLASSIFY, classes=2, layout=Levels(), metric="accuracy"
    )
    request = Request(
        benchmark=bench,
        data=Path(),
        model="test_deo_swin",
        untrained=True,
        contract="s2",
        tuning=TuneConfig(epochs=1, warmup=0),
        twin=True,
    )
    parts = request.open()
    told: list[Epoch] = []
    rivals = fit_rivals(request, parts, report=lambda seed, epoch: told.append(epoch))
    assert list(rivals) == ["test_deo_swin, random twin", FREQUENT, LOGISTIC, FOREST]
    assert {units.samples for units in rivals.values()} == {("6", "7", "8")}
    assert [epoch.number for epoch in told] == [1]
    assert fit_rivals(replace(request, twin=False, baselines=False), parts) == {}
    assert fit_rivals(request, {"train": parts["train"]}) == {}  # nothing is there to be judged
