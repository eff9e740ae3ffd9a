"""The kNN probe that runs while a model is pretrained."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.contracts import Contract, fit_contract
from deo.errors import ConfigError, DataError
from deo.training.run.state import State
from deo.training.tasks.benchmarks.catalogue import BENCHMARKS
from deo.training.tasks.dataset import Split
from deo.training.tasks.frozen import evaluate_knn
from deo.training.tasks.task import Benchmark

log = logging.getLogger(__name__)

DEFAULT_BENCHMARK = "eurosat-ms"
NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class TeacherFeatures:
    """Pooled features of the EMA teacher's trunk, as a `FeatureSource`."""

    state: State
    contract: Contract
    size: int
    batch: int = 64

    @property
    def bands(self) -> BandSet:
        return self.contract.bands

    @property
    def record(self) -> Mapping[str, Any]:
        return {"contract": self.contract.record(), "size": self.size}

    @torch.no_grad()
    def pooled(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        """(N, C, h, w) chips of one size -> (N, width)."""
        device, rows = self.state.context.device, []
        for start in range(0, len(chips), self.batch):
            inputs = [self.contract.apply(chip) for chip in chips[start : start + self.batch]]
            images = torch.from_numpy(np.stack(inputs)).to(device)
            images = F.interpolate(images, size=self.size, mode="bilinear", align_corners=False)
            with self.state.autocast():
                rows.append(self.state.teacher.embed(images).float().cpu().numpy())
        return np.concatenate(rows)

    def per_pixel(self, pixels: Pixels) -> NDArray[np.float32]:
        raise NotImplementedError("the online probe is a kNN on pooled features")


class Probe:
    """Every so many epochs, the accuracy of 5 nearest neighbours on the EMA teacher's features.

    Every process computes it, so that none waits for another; nothing random is drawn.

    Args:
        source: a folder in EuroSAT-MS's layout, or `name=folder` with another classification
            benchmark of `deo evaluate`.
        every: steps between probes; the last step is probed too.

    Raises:
        ConfigError: the benchmark is unknown.
        DataError: the folder is incomplete.
    """

    def __init__(self, source: str, *, every: int, state: State) -> None:
        name, equals, folder = source.partition("=")
        if not equals:
            name, folder = DEFAULT_BENCHMARK, source
        if name not in BENCHMARKS:
            raise ConfigError(
                f"monitor.probe names {name!r}; known are {', '.join(BENCHMARKS)}, "
                "written as name=folder"
            )
        self.every = every
        bands = RGB_BANDS if state.config.model.input == "rgb" else MODEL_BANDS
        self.benchmark: Benchmark = BENCHMARKS[name]
        self.splits: Mapping[str, Split] = self.benchmark.open(Path(folder), bands=bands)
        self.contract = fit_contract("pretrain", bands=bands)

    def __call__(self, state: State, finished: int) -> dict[str, float]:
        """Accuracy in 0..1 under `probe`, NaN where there is none; nothing when it is not time."""
        if finished % self.every and finished != state.steps:
            return {}
        training = state.teacher.training
        state.teacher.eval()
        features = TeacherFeatures(
            state=state, contract=self.contract, size=state.config.views.global_size
        )
        try:
            outcome = evaluate_knn(features, self.benchmark, self.splits, k=NEIGHBOURS)
        except DataError as error:  # what only watches a run does not end it
            log.warning("step %d: no probe: %s", finished, error)
            return {"probe": math.nan}
        finally:
            state.teacher.train(training)
        total = outcome.units.matrices.sum(axis=0)
        return {"probe": float(np.trace(total) / total.sum())}


def no_probe(state: State, finished: int) -> dict[str, float]:
    """What stands in where no probe is asked for."""
    return {}
