"""Lazy maps: blocks, what they need, and what travels to the processes that compute them."""

import pickle
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo import MODEL_BANDS
from deo.api import Extraction
from deo.errors import ConfigError
from deo.maps import lazy
from deo.maps.lazy import lazy_map
from deo.maps.memory import IN_MEMORY, map_arrays
from deo.scene.mask import Mask
from deo.scene.window import Window
from deo.scene.xarray_grid import data_array

array = pytest.importorskip("dask.array")

MICRO: dict[str, Any] = {
    "model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32, "contract": "fixed",
}  # fmt: skip
HEIGHT, WIDTH = 140, 172


def synthetic(chunks: Any = None) -> Any:
    values = np.random.default_rng(5).integers(1, 4000, (10, HEIGHT, WIDTH)).astype(np.uint16)
    values[:, :70, :70] = 0
    return data_array(
        values if chunks is None else array.from_array(values, chunks=chunks),
        MODEL_BANDS.names,
        dimension="band",
        crs=rasterio.CRS.from_epsg(32633),
        transform=rasterio.transform.from_origin(500_000, 5_000_000, 10, 10),
        attributes={"_FillValue": 0},
    )


@pytest.fixture
def whole() -> Any:
    plan = Extraction(**MICRO)
    with plan.open(synthetic()) as scene:
        return map_arrays(plan.job(scene, IN_MEMORY))[0].array


@pytest.mark.parametrize("batch_size", [None, 3])
def test_map__is_the_eager_one_to_rounding(
    whole: Any, batch_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "_TILES", 2)
    plan = Extraction(**MICRO)
    with plan.open(synthetic((10, 50, 61))) as scene:
        job = plan.job(scene, IN_MEMORY)
        computed = lazy_map(job, lambda scene: plan.load(scene).model, batch_size=batch_size)
        assert computed.numblocks == (1, 2, 3)
        values = computed.compute(scheduler="sync")
    assert np.array_equal(np.isnan(values), np.isnan(whole))
    assert np.nanmax(np.abs(values - whole)) < 1e-5
    assert np.isnan(whole[0]).any()


def test_block__needs_the_tiles_that_touch_it_and_no_more() -> None:
    plan = Extraction(**MICRO)
    with plan.open(synthetic()) as scene:
        tiling = plan.job(scene, IN_MEMORY).tiling
    starts = tiling.cols.starts
    block = Window(row=0, col=starts[2], height=HEIGHT, width=WIDTH - starts[2])
    needed = lazy._needed(tiling, block, 1)
    assert (needed.col, needed.col + needed.width) == (starts[1], WIDTH)
    assert (needed.row, needed.height) == (0, HEIGHT)
    assert lazy._needed(tiling, block, 2).col == starts[0]


def test_graph__holds_settings_and_no_weights() -> None:
    plan = Extraction(**MICRO)
    with plan.open(synthetic((10, 50, 61))) as scene:
        job = plan.job(scene, IN_MEMORY)
        recipes = [
            value
            for key, value in lazy_map(job, plan.load).__dask_graph__().items()
            if str(key).startswith("deo-recipe")
        ]
    assert len(recipes) == 1
    assert len(pickle.dumps(recipes[0])) < 20_000
    parameters = sum(p.numel() for p in job.model.call.parameters()) * 4  # type: ignore[attr-defined]
    assert parameters > 5 * len(pickle.dumps(recipes[0]))


def test_map__of_a_masked_or_resampled_scene_is_refused() -> None:
    class Nowhere(Mask):
        source = "nowhere"

        def valid(self, window: Window) -> Any:
            return np.zeros((window.height, window.width), np.bool_)

    plan = Extraction(**MICRO)
    with deo.open_scene(synthetic((10, 50, 61))) as scene:
        job = plan.job(scene.masked(Nowhere()), IN_MEMORY)
        with pytest.raises(
            ConfigError, match=r"mask cannot be laid over a lazy array.*data\.where"
        ):
            lazy_map(job, plan.load)
    with (
        deo.open_scene(synthetic((10, 50, 61)), resolution=20) as scene,
        pytest.raises(ConfigError, match="cannot be read at another resolution"),
    ):
        lazy_map(plan.job(scene, IN_MEMORY), plan.load)
