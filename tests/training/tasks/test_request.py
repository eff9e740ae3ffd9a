"""Plain settings become a request, or an error that names the setting."""

from pathlib import Path
from typing import Any

import pytest

from deo.bands import BandSet
from deo.errors import ConfigError, DataError
from deo.training.tasks.request import Request, choose_benchmark, request_from_settings
from deo.training.tasks.task import Task
from deo.training.tasks.tuneconfig import TuneConfig


def request(**settings: Any) -> Request:
    made: Request = request_from_settings(
        Request, Task.CLASSIFY, dataset="eurosat-ms", data="tiles", settings=settings
    )
    return made


def test_settings__reach_the_request_and_the_tuning() -> None:
    made = request(model="m", weights="w.safetensors", bands="B04,B03", fraction=0.5, rate=1e-3)
    assert (made.benchmark.name, made.data) == ("eurosat-ms", Path("tiles"))
    assert (made.weights, made.bands) == (Path("w.safetensors"), BandSet(("B04", "B03")))
    assert (made.fraction, made.tuning) == (0.5, TuneConfig(rate=1e-3))
    assert request(model="m", bands=["B04"], device="cpu").bands == BandSet(("B04",))


def test_settings__the_warm_up_never_outlasts_the_run() -> None:
    assert request(model="m", epochs=2).tuning == TuneConfig(epochs=2, warmup=2)
    assert request(model="m", epochs=2, warmup=1).tuning.warmup == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batch_sise", "no setting 'batch_sise'"),
        ("fractoin", "did you mean 'fraction'"),
        ("weight_decoy", "did you mean 'weight_decay'"),
        ("tuning", "no setting 'tuning'"),
        ("k", "no setting 'k'"),  # of an evaluation alone
    ],
)
def test_settings__unknown_ones_are_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request(model="m", **{name: 1})


def test_choose_benchmark__options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="benchmarks name their own"):
        choose_benchmark("eurosat-ms", Path(), Task.CLASSIFY, classes=("a",))
    with pytest.raises(DataError, match="unknown data set 'eurosat'"):
        choose_benchmark("eurosat", Path(), Task.CLASSIFY)
    with pytest.raises(DataError, match="only GEO-Bench has partitions"):
        choose_benchmark("eurosat-ms", Path(), Task.CLASSIFY, partition="0.10x_train")
