"""What may be asked for, before anything is opened."""

from pathlib import Path
from typing import Any, cast

import pytest

from deo.errors import ConfigError
from deo.training.tasks.dataset import Layout
from deo.training.tasks.protocols import PROTOCOLS, Evaluation, require_protocol
from deo.training.tasks.task import Benchmark, Task

BENCH = Benchmark(
    name="toy", task=Task.CLASSIFY, classes=2, layout=cast(Layout, None), metric="accuracy"
)


def evaluation(**settings: Any) -> Evaluation:
    given = {"protocol": "knn", "model": "test_deo_swin", **settings}
    return Evaluation(benchmark=BENCH, data=Path(), **given)


def test_require_protocol__lists_all() -> None:
    for name in PROTOCOLS:
        require_protocol(name)
    with pytest.raises(ConfigError, match="choose one of knn, probe, pixels, classify"):
        require_protocol("nearest")


@pytest.mark.parametrize("setting", [{"size": 0}, {"temperature": 0.0}])
def test_requests__of_numbers_that_cannot_work(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} is"):
        evaluation(**setting)


def test_requests__need_a_seed_and_baselines_no_weights() -> None:
    with pytest.raises(ConfigError, match="no seed given"):
        evaluation(seeds=())
    for given in ({"untrained": True}, {"weights": Path("w.safetensors")}):
        with pytest.raises(ConfigError, match="neither --weights nor --untrained"):
            evaluation(model="raw-bands", **given)


@pytest.mark.parametrize("protocol", ["segment", "change"])
def test_protocols__refuse_another_task(protocol: str) -> None:
    with pytest.raises(ConfigError, match=f"protocol {protocol} does not fit toy: classify"):
        PROTOCOLS[protocol].measure(evaluation(protocol=protocol), {}, 0)
