from typing import Any

import numpy as np
import pytest
import torch

from deo.bands import MODEL_BANDS
from deo.errors import ModelError
from deo.maps.runner import FeatureModel, Runner


def model_that_holds(tiles: int, sizes: list[int], error: type[Exception]) -> FeatureModel:
    def call(images: torch.Tensor) -> Any:
        if len(images) > tiles:
            raise error("CUDA out of memory. Tried to allocate 20.00 GiB")
        sizes.append(len(images))
        return [images[:, :2, ::4, ::4]]

    return FeatureModel(call=call, channels=(2,), reductions=(4,), bands=MODEL_BANDS, multiple=4)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, RuntimeError, MemoryError])
def test_runner__halves_the_batch_when_memory_runs_out(error: type[Exception]) -> None:
    sizes: list[int] = []
    runner = Runner(model_that_holds(3, sizes, error), 10)
    images = torch.randn(10, 10, 8, 8)
    (features,) = runner(images)
    np.testing.assert_array_equal(features, images[:, :2, ::4, ::4].numpy())
    assert sizes == [2, 2, 2, 2, 2]
    runner(images[:5])
    assert sizes[5:] == [2, 2, 1], "the smaller batch is remembered"


def test_runner__says_when_one_tile_does_not_fit() -> None:
    runner = Runner(model_that_holds(0, [], RuntimeError), 4)
    with pytest.raises(ModelError, match="smaller --tile"):
        runner(torch.randn(4, 10, 8, 8))


def test_runner__lets_other_errors_through() -> None:
    def call(images: torch.Tensor) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model = FeatureModel(call=call, channels=(2,), reductions=(4,), bands=MODEL_BANDS, multiple=4)
    with pytest.raises(RuntimeError, match="mat1"):
        Runner(model, 4)(torch.randn(4, 10, 8, 8))


def test_runner__runs_in_the_precision_asked_for() -> None:
    layer = torch.nn.Conv2d(10, 2, 4, 4)
    images = torch.randn(1, 10, 16, 16)
    results = {}
    for precision in ("fp32", "bf16"):
        model = FeatureModel(
            call=lambda images: [layer(images)],
            channels=(2,),
            reductions=(4,),
            bands=MODEL_BANDS,
            multiple=4,
            precision=precision,
        )
        (results[precision],) = Runner(model, 1)(images)
        assert results[precision].dtype == np.float32
    difference = np.abs(results["fp32"] - results["bf16"]).max()
    assert 0 < difference < 0.05


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"precision": "fp8"}, "precision 'fp8'"),
        ({"channels": (1, 2)}, "as many channels as reductions"),
        ({"channels": (), "reductions": ()}, "at least one"),
    ],
)
def test_feature_model__refuses_contradictions(given: dict[str, Any], said: str) -> None:
    facts: dict[str, Any] = {"channels": (1,), "reductions": (4,), **given}
    with pytest.raises(ModelError, match=said):
        FeatureModel(call=lambda images: [images], bands=MODEL_BANDS, multiple=4, **facts)
