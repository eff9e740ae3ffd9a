"""The synthetic scene: what it claims to show is there, and it says that it is synthetic."""

from pathlib import Path

import numpy as np
import rasterio

from deo.synthetic import BANDS, CLASSES, SyntheticScene, synthesise, write_scene


def mean_spectrum(scene: SyntheticScene, name: str) -> np.ndarray:
    there = (scene.classes == CLASSES.index(name)) & (scene.pixels > 0).all(0)
    return scene.pixels[:, there].mean(1)


def test_synthesise__is_decided_by_the_seed() -> None:
    first, again, other = (synthesise(size=96, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != other.pixels).any()


def test_synthesise__holds_every_kind_of_land_and_some_nodata() -> None:
    scene = synthesise(size=320)
    assert set(np.unique(scene.classes)) == set(range(len(CLASSES)))
    hidden = (scene.pixels == 0).all(0)
    assert 0.01 < hidden.mean() < 0.3
    assert ((scene.pixels == 0).any(0) == hidden).all()


def test_synthesise__vegetation_has_a_red_edge_and_water_none() -> None:
    scene = synthesise(size=320)
    red, infrared = BANDS.names.index("B04"), BANDS.names.index("B08")
    forest, water = (mean_spectrum(scene, name) for name in ("forest", "water"))
    assert forest[infrared] > 4 * forest[red]
    assert water[infrared] < water[red]


def test_write_scene__is_georeferenced_named_and_called_synthetic(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    scene = write_scene(path, size=96)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 32631
        assert file.descriptions == BANDS.names
        assert file.nodata == 0
        assert "Synthetic" in file.tags()["DESCRIPTION"]
        np.testing.assert_array_equal(file.read(), scene.pixels)
