from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, Pixels
from deo.contracts import Contract, fit_contract
from deo.errors import ModelError, SceneError
from deo.maps.runner import FeatureModel
from deo.maps.stream import extract_rows
from deo.maps.windows import tiles


def stitched(
    scene: Any, model: FeatureModel, contract: Contract, *, finished: int = 0, **tiling: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Per layer: values (channels, height, width) and valid fractions (height, width)."""
    layout = {"tile": 32, "overlap": 8, **tiling}
    laid = tiles(height=scene.height, width=scene.width, multiple=model.stride, **layout)
    below = laid.finished_rows(finished, len(laid.rows.starts))
    bands = list(extract_rows(scene, model, contract, laid, batch_size=3, window=below))
    layers = []
    for layer in range(len(model.channels)):
        blocks = [band.blocks[layer] for band in bands]
        values = np.concatenate([block.values for block in blocks]).transpose(1, 0, 2)
        layers.append((values, np.concatenate([block.valid for block in blocks])))
    return layers


def whole(scene: Any, model: FeatureModel, contract: Contract) -> list[NDArray[np.float32]]:
    image = contract.apply(Pixels(scene.values.copy(), scene.valid_pixels.copy()))
    down, right = (-side % model.stride for side in image.shape[1:])
    image = np.pad(image, ((0, 0), (0, down), (0, right)), mode="symmetric")
    with torch.inference_mode():
        return [features[0].numpy() for features in model.call(torch.from_numpy(image)[None])]


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([0, 8, 16, 24]))
@settings(max_examples=30, deadline=None)
def test_extract_rows__stitch_equals_the_whole(height: int, width: int, overlap: int) -> None:
    rng = np.random.default_rng(height * 100 + width)

    class Scene:
        values = rng.uniform(0, 3000, (10, height, width)).astype(np.float32)
        valid_pixels = np.ones((height, width), np.bool_)

        def read(self, window: Any, bands: Any) -> Pixels:
            rows, cols = window.slices
            return Pixels(self.values[:, rows, cols].copy(), self.valid_pixels[rows, cols].copy())

    scene: Any = Scene()
    scene.height, scene.width = height, width
    pool = torch.nn.functional.avg_pool2d
    model = FeatureModel(
        call=lambda images: [pool(images, 4), pool(images, 8)],
        channels=(10, 10),
        reductions=(4, 8),
        bands=MODEL_BANDS,
        multiple=8,
    )
    contract = fit_contract("s2", bands=MODEL_BANDS)
    found = stitched(scene, model, contract, overlap=overlap)
    for (values, valid), wanted, stride in zip(
        found, whole(scene, model, contract), (4, 8), strict=True
    ):
        rows, cols = -(-height // stride), -(-width // stride)
        assert values.shape == (10, rows, cols)
        assert valid.shape == (rows, cols)
        np.testing.assert_allclose(values, wanted[:, :rows, :cols], atol=2e-5)


def test_extract_rows__one_tile_is_the_model_to_the_bit(
    held: Callable[..., Any], wide_model: FeatureModel, plain: Contract
) -> None:
    scene = held(32, 24)
    ((values, _),) = stitched(scene, wide_model, plain)
    np.testing.assert_array_equal(values, whole(scene, wide_model, plain)[0])


def test_extract_rows__blend_is_the_weighted_mean_of_the_tiles(
    held: Callable[..., Any], wide_model: FeatureModel, plain: Contract
) -> None:
    scene = held(32, 56)
    layout = tiles(height=32, width=56, tile=32, overlap=8, multiple=4)
    wanted = np.zeros((10, 8, 14))
    for index, start in enumerate(layout.cols.starts):
        part = held(32, 56)
        cut = Pixels(part.values[:, :, start : start + 32], np.ones((32, 32), np.bool_))
        features = wide_model.call(torch.from_numpy(plain.apply(cut))[None])[0][0].numpy()
        place = slice(start // 4, start // 4 + 8)
        wanted[:, :, place] += features * layout.cols.weights(index, 4)
    ((values, _),) = stitched(scene, wide_model, plain)
    np.testing.assert_allclose(values, wanted, atol=1e-5)


def test_extract_rows__no_jump_at_tile_edges(
    held: Callable[..., Any], wide_model: FeatureModel, plain: Contract
) -> None:
    """The tile mean jumps from tile to tile; blended, it may step by no more than a ramp's."""
    scene = held(32, 200)
    scene.values[:] = np.arange(200, dtype=np.float32) * 10
    ((smooth, _),) = stitched(scene, wide_model, plain, overlap=16)
    ((hard, _),) = stitched(scene, wide_model, plain, overlap=0)
    steps = [np.abs(np.diff(values[0, 0])) for values in (smooth, hard)]
    assert steps[0].max() < 0.6 * steps[1].max()


def test_extract_rows__nodata_weighs_nothing(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    hole = (slice(0, 40), slice(10, 51))
    clean, holed = held(64, 80), held(64, 80, hole=hole)
    holed.values[:, *hole] = 1e9
    for stride, (values, valid), (wanted, _) in zip(
        (4, 8),
        stitched(holed, local_model, plain),
        stitched(clean, local_model, plain),
        strict=True,
    ):
        fraction = holed.valid_pixels.reshape(64 // stride, stride, 80 // stride, stride)
        np.testing.assert_allclose(valid, fraction.mean(axis=(1, 3)), atol=1e-6)
        assert np.isnan(values[:, valid == 0]).all()
        assert np.isfinite(values[:, valid > 0]).all()
        np.testing.assert_allclose(values[:, valid == 1], wanted[:, valid == 1], atol=2e-5)


def test_extract_rows__empty_tiles_never_reach_the_model(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    scene = held(100, 100, hole=(slice(0, 100), slice(0, 100)))
    calls: list[int] = []

    def call(images: torch.Tensor) -> Any:
        calls.append(len(images))
        return local_model.call(images)

    counted = FeatureModel(
        call=call, channels=(10, 3), reductions=(4, 8), bands=MODEL_BANDS, multiple=8
    )
    for values, valid in stitched(scene, counted, plain):
        assert np.isnan(values).all()
        assert not valid.any()
    assert not calls
    scene.valid_pixels[99, 99] = True
    assert np.isfinite(stitched(scene, counted, plain)[0][0]).sum() == 10
    assert calls == [1]


def test_extract_rows__a_later_start_gives_the_same_bits(
    held: Callable[..., Any], wide_model: FeatureModel, plain: Contract
) -> None:
    scene = held(150, 70, hole=(slice(40, 90), slice(0, 60)))
    ((all_rows, _),) = stitched(scene, wide_model, plain, overlap=20)
    layout = tiles(height=150, width=70, tile=32, overlap=20, multiple=4)
    for finished, start in enumerate(layout.rows.starts):
        ((values, _),) = stitched(scene, wide_model, plain, overlap=20, finished=finished)
        np.testing.assert_array_equal(values, all_rows[:, start // 4 :])


def test_extract_rows__tells_progress_of_every_tile(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    scene = held(100, 100, hole=(slice(0, 60), slice(0, 100)))
    laid = tiles(height=100, width=100, tile=32, overlap=8, multiple=8)
    told: list[int] = []
    for _ in extract_rows(scene, local_model, plain, laid, batch_size=2, progress=told.append):
        pass
    assert sum(told) == len(laid)


def test_extract_rows__raises_a_read_error(
    held: Callable[..., Any], local_model: FeatureModel, plain: Contract
) -> None:
    class Broken:
        height = width = 64

        def read(self, window: Any, bands: Any) -> Pixels:
            raise SceneError("tile cannot be read")

    laid = tiles(height=64, width=64, tile=32, overlap=8, multiple=8)
    with pytest.raises(SceneError, match="tile cannot be read"):
        list(extract_rows(Broken(), local_model, plain, laid, batch_size=2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda images: [images], "promise"),
        (lambda images: [images[:, :, ::4, ::4], images], "promise"),
        (lambda images: [images[:, :, ::4, ::4] * float("nan")], "not finite"),
    ],
)
def test_extract_rows__refuses_maps_that_are_wrong(
    held: Callable[..., Any], plain: Contract, call: Any, said: str
) -> None:
    model = FeatureModel(call=call, channels=(10,), reductions=(4,), bands=MODEL_BANDS, multiple=4)
    with pytest.raises(ModelError, match=said):
        stitched(held(32, 32), model, plain)
