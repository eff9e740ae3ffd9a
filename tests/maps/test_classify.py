from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo.errors import ConfigError, DataError, OutputError
from deo.maps.classify import classify

Make = Callable[..., Any]
pytest.importorskip("sklearn")
pytest.importorskip("geopandas")


@pytest.fixture
def labels(points: Make) -> Path:
    """Eight points a class, spread over their halves."""
    rng = np.random.default_rng(4)
    rows, cols = rng.integers(2, 20, 16), rng.integers(0, 15, 16)
    places = [
        (row, col + 15 * (at % 2), ("west", "east")[at % 2])
        for at, (row, col) in enumerate(zip(rows.tolist(), cols.tolist(), strict=True))
    ]
    path: Path = points(places)
    return path


@pytest.mark.parametrize("method", ["logistic", "neighbours", "forest"])
@pytest.mark.parametrize("name", ["features.tif", "features.zarr"])
def test_classify__maps_the_halves(
    feature_file: Make, labels: Path, tmp_path: Path, method: str, name: str
) -> None:
    made = classify(feature_file(name), tmp_path / "map.tif", labels=labels, method=method)
    with rasterio.open(tmp_path / "map.tif") as file:
        classes = file.read(1)
    truth = np.repeat([[1] * 15 + [0] * 15], 18, axis=0)
    assert made.classes == ("east", "west")
    assert (classes[2:] == truth).mean() > 0.97
    assert sum(made.areas.values()) == pytest.approx(18 * 30 * 1600, rel=2e-3)
    assert made.examples == {"east": 8, "west": 8}
    assert made.accuracy is not None
    assert made.accuracy.overall > 0.8
    assert made.block_metres == pytest.approx(160, rel=1e-3)


def test_classify__saved_gives_the_same_map(
    feature_file: Make, labels: Path, tmp_path: Path
) -> None:
    features = [feature_file("a.tif"), feature_file("b.zarr", seed=1)]
    maps = [tmp_path / f"{number}.tif" for number in range(3)]
    kept = tmp_path / "c.safetensors"
    first = deo.classify(features, maps[0], labels=labels, save=kept)
    deo.classify(features, maps[1], labels=labels)
    last = deo.classify(features, maps[2], classifier=kept)
    assert len({path.read_bytes() for path in maps}) == 1
    assert last.areas == first.areas
    assert (last.accuracy, last.examples) == (None, {})
    other = feature_file("c.tif", weights_sha256="cd" * 32)
    with pytest.raises(DataError, match=r"WEIGHTS_SHA256: 'abab.* -> 'cdcd"):
        deo.classify([features[0], other], maps[0], classifier=kept, overwrite=True)


def test_classify__refuses_before_it_reads(
    feature_file: Make, labels: Path, tmp_path: Path
) -> None:
    features, target = feature_file(), tmp_path / "map.tif"
    with pytest.raises(ConfigError, match="either labels"):
        classify(features, target)
    with pytest.raises(ConfigError, match="either labels"):
        classify(features, target, labels=labels, classifier=labels)
    with pytest.raises(ConfigError, match="no classifier 'svm'"):
        classify(features, target, labels=labels, method="svm")
    with pytest.raises(OutputError, match="is what is being read"):
        classify(features, features, labels=labels, overwrite=True)
    with pytest.raises(ConfigError, match="as large as a cell"):
        classify(features, target, labels=labels, block=5)
    assert not target.exists()
