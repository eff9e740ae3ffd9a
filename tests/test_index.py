from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo import index
from deo.errors import ConfigError, DataError

MICRO: dict[str, Any] = {
    "model": "test_deo_swin", "untrained": True, "layer": 0, "contract": "s2"
}  # fmt: skip


@pytest.fixture
def built(scene_file: Callable[..., Path], tmp_path: Path) -> Path:
    deo.extract(scene_file(64, 96), tmp_path / "features.tif", **MICRO)
    index.build([tmp_path / "features.tif"], tmp_path / "place.index")
    return tmp_path / "place.index"


def test_similar__like_an_image_or_its_features(
    built: Path, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    image = scene_file(64, 96, name="like.tif")
    by_image = index.similar(built, like=image, count=3)
    by_features = index.similar(built, like=tmp_path / "features.tif", count=3)
    assert by_image == by_features
    with rasterio.open(tmp_path / "features.tif") as file:
        cells = file.read().reshape(file.count, -1).T
        width = file.width
    mean = cells.mean(axis=0)
    cosine = cells @ mean / np.linalg.norm(cells, axis=1) / np.linalg.norm(mean)
    assert by_image[0].similarity == pytest.approx(cosine.max(), abs=1e-3)
    assert cosine[by_image[0].row * width + by_image[0].col] > cosine.max() - 1e-3


def test_similar__refuses_features_of_another_layer(
    built: Path, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    deo.extract(scene_file(64, 96), tmp_path / "other.tif", **MICRO | {"layer": 1})
    with pytest.raises(DataError, match="cannot be compared with the index"):
        index.similar(built, like=tmp_path / "other.tif")


def test_similar__components_are_compared_with_components(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    scene = scene_file(64, 96)
    deo.extract(scene, tmp_path / "a.tif", components=3, **MICRO)
    index.build([tmp_path / "a.tif"], tmp_path / "place.index")
    assert len(index.similar(tmp_path / "place.index", like=tmp_path / "a.tif")) == 10
    with pytest.raises(ConfigError, match="the index holds components"):
        index.similar(tmp_path / "place.index", like=scene)


def test_similar__needs_one_thing_to_look_for(built: Path) -> None:
    for asked in ({}, {"at": (15.0, 45.0), "like": "a.tif"}, {"at": (15.0, 45.0), "count": 0}):
        with pytest.raises(ConfigError):
            index.similar(built, **asked)
    with pytest.raises(ConfigError, match="no features to index"):
        index.build([], built.with_name("other.index"))
