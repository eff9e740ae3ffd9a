from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from deo import MODEL_BANDS, RGB_BANDS, Pixels, open_scene
from deo.contracts import fit_contract
from deo.errors import SceneError
from deo.maps.pair import PairContract, ScenePair, joined
from deo.scene.window import Window

MOVED = Affine(10, 0, 500_010, 0, -10, 5_000_000)
CORNER = Window(row=0, col=0, height=20, width=30)


def test_scene_pair__stacks_bands_and_is_valid_where_both_are(
    scene_file: Callable[..., Path],
) -> None:
    paths = [
        scene_file(hole=(slice(0, 5), slice(0, 30)), name="one.tif"),
        scene_file(hole=(slice(0, 20), slice(0, 4)), name="two.tif"),
    ]
    with open_scene(paths[0]) as first, open_scene(paths[1]) as second:
        both = joined([first, second])
        assert isinstance(both, ScenePair)
        assert (both.height, both.width) == (100, 120)
        values, valid = both.read(CORNER, MODEL_BANDS)
        one, other = (each.read(CORNER, MODEL_BANDS) for each in (first, second))
    np.testing.assert_array_equal(values, np.concatenate((one.values, other.values)))
    np.testing.assert_array_equal(valid, one.valid & other.valid)
    assert valid.sum() == 15 * 26


def test_joined__one_scene_is_itself(scene_file: Callable[..., Path]) -> None:
    with open_scene(scene_file()) as scene:
        assert joined([scene]) is scene


def test_scene_pair__refuses_another_grid(scene_file: Callable[..., Path]) -> None:
    paths = [scene_file(name=f"{name}.tif") for name in ("one", "moved", "warped")]
    for path, changes in zip(paths[1:], ({"transform": MOVED}, {"crs": "EPSG:32632"}), strict=True):
        with rasterio.open(path, "r+") as file:
            for name, value in changes.items():
                setattr(file, name, value)
    paths.append(scene_file(90, 120, name="lower.tif"))
    with open_scene(paths[0]) as first:
        for path in paths[1:]:
            with open_scene(path) as second, pytest.raises(SceneError, match="mismatched pair"):
                ScenePair(first=first, second=second)


def test_pair_contract__applies_one_contract_to_each_date() -> None:
    contract = fit_contract("s2", bands=RGB_BANDS)
    pair = PairContract(each=contract)
    values = np.random.default_rng(0).uniform(0, 3000, (6, 4, 5)).astype(np.float32)
    valid = np.ones((4, 5), np.bool_)
    valid[0] = False
    stack = pair.apply(Pixels(values, valid))
    np.testing.assert_array_equal(stack[:3], contract.apply(Pixels(values[:3], valid)))
    np.testing.assert_array_equal(stack[3:], contract.apply(Pixels(values[3:], valid)))
    assert (stack[:, 0] == 0).all()
    assert pair.record() == contract.record()
    assert pair.bands == RGB_BANDS
