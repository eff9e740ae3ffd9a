import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from deo.errors import SceneError
from deo.maps.cosine import compare_held
from deo.maps.memory import MapArray
from deo.scene.earth import Place

TAGS = {"DEO_MODEL": "toy", "DEO_LAYER": "3", "DEO_STRIDE": "32", "DEO_SOURCE": "toy.tif"}


def held(tags: dict[str, str] = TAGS) -> MapArray:
    array = np.random.default_rng(0).normal(size=(8, 4, 5)).astype(np.float32)
    array[:, 0, 0] = np.nan
    return MapArray(
        array=array,
        valid=np.isfinite(array[0]).astype(np.float32),
        transform=from_origin(15, 45, 0.1, 0.1),
        crs=CRS.from_epsg(4326),
        names=tuple("abcdefgh"),
        tags=tags,
    )


def test_compare_held__is_the_cosine_with_the_place_s_cell() -> None:
    features = held()
    similarity, info, cell = compare_held(features, Place(15.25, 44.85))
    assert cell == (1, 2)
    one = features.array[:, 1, 2]
    for row, col in np.ndindex(4, 5):
        other = features.array[:, row, col]
        wanted = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        np.testing.assert_allclose(similarity[row, col], wanted, atol=1e-6)
    assert (info.layer, info.stride, info.source) == (3, 32, "toy.tif")
    assert info.tags["DEO_SIMILAR_TO"] == "15.25,44.85"


def test_compare_held__refuses_places_and_maps_without_features() -> None:
    with pytest.raises(SceneError, match="nodata; choose another place"):
        compare_held(held(), Place(15.05, 44.95))
    with pytest.raises(SceneError, match=r"outside toy.tif, which reaches from"):
        compare_held(held(), Place(0, 0))
    with pytest.raises(SceneError, match="is no map of features"):
        compare_held(held({}), Place(15.25, 44.85))
