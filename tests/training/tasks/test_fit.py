"""One way to a tuned network: the same with a folder and without."""

from pathlib import Path

import numpy as np
import torch

from deo.bands import MODEL_BANDS
from deo.training.tasks.dataset import Sample
from deo.training.tasks.fit import fit, remains
from deo.training.tasks.request import Request
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuneconfig import TuneConfig
from deo.training.tasks.tuned import BEST, load_tuned


class Tiles:
    """Tiles of two levels, which are their classes."""

    bands = MODEL_BANDS

    def problems(self, root: Path) -> list[str]:
        return []

    def splits(self, root: Path) -> dict[str, tuple[str, ...]]:
        return {"train": ("0", "1", "2", "3"), "valid": ("4", "5"), "test": ("6", "7", "8")}

    def read(self, root: Path, name: str) -> Sample:
        number = int(name)
        values = np.random.default_rng(number).normal(900 + 2000 * (number % 2), 40, (10, 32, 32))
        valid = np.ones((32, 32), bool)
        return Sample(values.astype(np.float32), np.asarray(number % 2), valid)


def test_fit__a_folder_changes_nothing_but_what_is_written(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    bench = Benchmark(
        name="tiles", task=Task.CLASSIFY, classes=("dry", "wet"), layout=Tiles(), metric="accuracy"
    )
    request = Request(
        benchmark=bench,
        data=tmp_path,
        model="test_deo_swin",
        untrained=True,
        contract="s2",
        tuning=TuneConfig(epochs=2, warmup=0, batch=2, rate=1e-3, loss="ce", seed=1),
    )
    parts = request.open()
    alone = fit(request, parts)
    assert remains(tmp_path) == []
    written = fit(request, parts, folder=tmp_path)
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(tensor, written.network.state_dict()[name]), name
    assert alone.units is not None
    assert written.units is not None
    assert alone.units.samples == ("6", "7", "8")
    assert np.array_equal(alone.units.matrices, written.units.matrices)
    assert (alone.epochs, written.epochs) == (2, 2)
    tuned = load_tuned(tmp_path / BEST)
    assert (tuned.description.head, alone.config.head) == ("fusion", "fusion")
    for name, tensor in alone.network.state_dict().items():
        assert torch.equal(tensor, tuned.network.state_dict()[name]), name
    assert fit(request, {"train": parts["train"]}).units is None
