"""What is asked for: labels, a backbone, and how it is tuned, from plain settings."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from deo.bands import BandSet
from deo.contracts import InputContract
from deo.errors import ConfigError, did_you_mean
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.benchmarks.folder import FOLDER, folder_benchmark
from deo.training.tasks.benchmarks.geobench import BandKeys
from deo.training.tasks.dataset import Split
from deo.training.tasks.inputs import choose_bands, choose_contract
from deo.training.tasks.plan import EPOCHS
from deo.training.tasks.radiometry import warn_of_doubtful_numbers
from deo.training.tasks.splits import divide, first_part
from deo.training.tasks.survey import least_valid
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuneconfig import TuneConfig


@dataclass(frozen=True, kw_only=True)
class Request:
    """Labels, and the backbone that is tuned or measured on them.

    Args:
        benchmark, data: the labels, and the folder that holds them.
        model: a backbone of ours, any timm model, or one of `BASELINES`.
        weights, untrained: see `open_backbone`.
        bands: input channels; None: the model's bands that the data hold.
        contract: None: see `choose_contract`.
        test: names of test samples, for data without splits.
        valid: share of the training samples held out where there is no validation part; None: 15 %,
            if these are enough to choose an epoch by.
        fraction: share of the training labels that is used.
        baselines: whether a tuned network is compared with baselines on the same samples.
        twin: whether it is compared with a network that is tuned from random weights.
        tuning: how a head is tuned, and the backbone with it.
        device: as torch names it.
    """

    benchmark: Benchmark
    data: Path
    model: str
    weights: Path | None = None
    untrained: bool = False
    bands: BandSet | None = None
    contract: str | None = None
    test: tuple[str, ...] = ()
    valid: float | None = None
    fraction: float = 1.0
    baselines: bool = True
    twin: bool = False
    tuning: TuneConfig = field(default_factory=TuneConfig)
    device: str = "cpu"

    @property
    def chosen_bands(self) -> BandSet:
        """The input channels, named or not.

        Raises:
            ConfigError: the data hold none of the model's bands.
        """
        return self.bands or choose_bands(self.benchmark.layout)

    def divide(
        self, splits: Mapping[str, Split], *, seed: int, share: float = 1.0
    ) -> dict[str, Split]:
        """The parts that a network is tuned, judged and scored on; see `splits.divide`."""
        if self.valid is not None:
            return divide(splits, test=self.test, share=share, valid=self.valid, seed=seed)
        least = least_valid(self.benchmark)
        return divide(splits, test=self.test, share=share, least=least, seed=seed)

    def open(self) -> dict[str, Split]:
        """Check the data and open their splits in the bands asked for.

        Raises:
            DataError: the folder is incomplete or a split is empty.
            BandError: the data lack a band.
        """
        splits = self.benchmark.open(self.data, bands=self.chosen_bands)
        warn_of_doubtful_numbers(first_part(splits), self.benchmark.unit)
        return splits


class Chosen(NamedTuple):
    """A backbone, its contract, and where its weights came from, JSON-able."""

    model: Any
    contract: InputContract
    identity: dict[str, Any]


def chosen_backbone(
    request: Request, splits: Mapping[str, Split], seed: int, *, mapped: bool = False
) -> Chosen:
    """The network that a request names, on the bands of the splits; `seed` draws random weights.

    `mapped` is as in `choose_contract`.
    """
    train = first_part(splits)
    loaded = open_backbone(
        request.model,
        bands=train.bands,
        weights=request.weights,
        untrained=request.untrained,
        seed=seed,
    )
    contract = choose_contract(
        request.contract,
        bands=train.bands,
        unit=request.benchmark.unit,
        stored=loaded.weights.contract,
        train=train,
        mapped=mapped,
    )
    identity = {
        "model": request.model,
        "weights": loaded.weights.source,
        "sha256": loaded.weights.sha256,
    }
    return Chosen(loaded.model, contract, identity)


def choose_benchmark(
    dataset: str,
    data: Path,
    task: Task,
    *,
    classes: Iterable[str] = (),
    stored_bands: BandSet | None = None,
    band_keys: str | None = None,
    partition: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
) -> Benchmark:
    """The data set of a name, or a folder of the user's own.

    Args:
        dataset: a benchmark's name, or `folder`.
        data: the folder; of the user's own it is looked into.
        task: what a folder of the user's own is read for; a benchmark has its own.
        classes: names of mask values, for a folder of the user's own.
        stored_bands: order of the bands in files that do not name them.
        band_keys: `corrected` or `as_published`, for m-eurosat.
        partition: of GEO-Bench.
        scale, offset: digital number = stored x scale + offset of every image, above all evidence.

    Raises:
        ConfigError: an option does not fit the data set.
        DataError: there is no such data set, or the folder cannot be read.
    """
    if dataset == FOLDER:
        return folder_benchmark(
            task, data, bands=stored_bands, classes=tuple(classes), scale=scale, offset=offset
        )
    if tuple(classes):
        raise ConfigError(f"--classes is for --dataset {FOLDER}; benchmarks name their own")
    keys = BandKeys(band_keys) if band_keys else None
    return benchmark(
        dataset, keys=keys, partition=partition, stored=stored_bands, scale=scale, offset=offset
    )


def request_from_settings(
    kind: Callable[..., Any],
    task: Task,
    *,
    dataset: str,
    data: str | Path,
    settings: Mapping[str, Any],
    **given: Any,
) -> Any:
    """A `Request`, or a request of another `kind`, from plain settings.

    Args:
        kind: the class to make.
        task: what a folder of the user's own is read for.
        settings: keyword arguments of `kind`, of `TuneConfig` and of `choose_benchmark` in one
            mapping; paths and bands may be text, and None for the device means a GPU if there is
            one.
        given: further arguments of `kind`.

    Raises:
        ConfigError: a setting is unknown, or does not fit.
    """
    values = {name: _converted(name, value) for name, value in settings.items()}
    takers = (choose_benchmark, kind, TuneConfig)
    names = [set(inspect.signature(taker).parameters) - _GIVEN for taker in takers]
    for name in values:
        if not any(name in accepted for accepted in names):
            hint = did_you_mean(name, sorted(set().union(*names)))
            raise ConfigError(f"there is no setting {name!r}; {hint}")
    of_data, of_kind, of_tuning = (
        {name: value for name, value in values.items() if name in accepted} for accepted in names
    )
    # A short run needs no shorter warm-up by name: it never lasts longer than the run.
    warmup = min(of_tuning.pop("warmup", TuneConfig.warmup), of_tuning.get("epochs") or EPOCHS)
    fallback = "cuda" if torch.cuda.is_available() else "cpu"
    of_kind["device"] = of_kind.get("device") or fallback
    return kind(
        benchmark=choose_benchmark(dataset, Path(data), task, **of_data),
        data=Path(data),
        tuning=TuneConfig(**of_tuning, warmup=warmup),
        **of_kind,
        **given,
    )


_GIVEN = {"dataset", "data", "task", "benchmark", "tuning", "protocol", "progress"}
"""Parameters that are not settings: they are said by themselves."""


def _converted(name: str, value: Any) -> Any:
    """Text and lists as the classes want them."""
    if name in ("bands", "stored_bands") and value is not None:
        return BandSet.parse(value) if isinstance(value, str) else BandSet(value)
    if name == "weights" and value is not None:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
