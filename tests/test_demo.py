"""The tour, with a micro model without training and a small scene."""

from pathlib import Path

import pytest
import rasterio
from PIL import Image

import deo.demo
from deo.demo import take_tour
from deo.errors import DeoError, OutputError
from deo.synthetic import write_scene

MICRO = {"model": "test_deo_swin", "untrained": True}


@pytest.fixture
def small_scene(tmp_path: Path) -> Path:
    path = tmp_path / "given.tif"
    write_scene(path, size=160)
    return path


def test_take_tour__writes_features_and_pictures_of_a_given_scene(
    tmp_path: Path, small_scene: Path
) -> None:
    tour = take_tour(tmp_path / "tour", scene=small_scene, **MICRO)
    with rasterio.open(tour.features) as features, rasterio.open(tour.similarity) as similar:
        assert features.shape == similar.shape == (40, 40)
        assert features.count == 16
    for picture in (tour.preview, tour.similarity_preview):
        with Image.open(picture) as image:
            assert image.width > 300
    assert tour.scene == small_scene


def test_take_tour__refuses_a_scene_without_a_place_before_computing(
    tmp_path: Path, small_scene: Path
) -> None:
    with rasterio.open(small_scene, "r+") as file:
        file.crs = rasterio.crs.CRS()
    with pytest.raises(DeoError, match="no coordinate reference system"):
        take_tour(tmp_path / "tour", scene=small_scene, **MICRO)
    assert list((tmp_path / "tour").iterdir()) == []


def test_take_tour__synthesises_a_scene_and_looks_at_its_river(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deo.demo, "write_scene", lambda path: write_scene(path, size=160))
    tour = take_tour(tmp_path, **MICRO)
    assert tour.scene == tmp_path / "scene.tif"
    assert tour.what == "the river"


def test_take_tour__refuses_to_replace_an_earlier_one(tmp_path: Path, small_scene: Path) -> None:
    (tmp_path / "preview.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"preview\.png"):
        take_tour(tmp_path, scene=small_scene, **MICRO)
    assert (tmp_path / "preview.png").read_bytes() == b"mine"
    take_tour(tmp_path, scene=small_scene, overwrite=True, **MICRO)
