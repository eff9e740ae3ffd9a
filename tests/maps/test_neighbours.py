import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError, OutputError, SceneError
from deo.maps.neighbours import FeatureIndex, build_index
from deo.maps.similar import Place

Make = Callable[..., Any]
GRID = (
    '{"crs": "EPSG:32633", "transform": [10, 0, %d, 0, -10, 5000000], "height": 117, "width": 163}'
)


@pytest.fixture
def features(held_rows: Make, info: Make, write: Make, tmp_path: Path) -> Make:
    """Writes random features of 5 channels, which lie at `east`."""

    def make(name: str, *, east: int = 500_000, dtype: str = "float32", **tags: str) -> Path:
        facts = {"DEO_STRIDE": "4", "DEO_DTYPE": dtype, "DEO_SOURCE": name, "DEO_CHIP": "32"}
        described = {**info().tags, **facts, "DEO_GRID": GRID % east, **tags}
        write(held_rows(), info(tags=described, dtype=dtype), tmp_path / name, chip=32)
        return tmp_path / name

    return make


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".parquet"])
def test_feature_index__finds_what_comparing_all_finds(
    features: Make, held_rows: Make, tmp_path: Path, suffix: str
) -> None:
    paths = [features(f"a{suffix}"), features(f"b{suffix}", east=600_000, dtype="int8")]
    built = build_index(paths, tmp_path / "place.index")
    cells = 24 if suffix == ".parquet" else 30 * 41
    assert 2 * cells > built.vectors > 1.5 * cells
    assert built.recall > 0.9
    opened = FeatureIndex(tmp_path / "place.index")
    assert len(opened) == built.vectors
    place = Place(15.011, 45.146)
    vector = opened.vector(place)
    first, second, *_ = opened.near(vector)
    assert {first.file, second.file} == set(map(str, paths)), "both files hold the same features"
    assert first.similarity == pytest.approx(1, abs=2e-3)
    if suffix == ".tif":
        rows = held_rows()
        row, col = first.row, first.col
        np.testing.assert_allclose(vector, rows.data[row, :, col], rtol=1e-2, atol=1e-3)
        assert abs(first.place.latitude - place.latitude) < 4e-4
        data = np.nan_to_num(rows.data.transpose(0, 2, 1).reshape(-1, 5))
        norms = np.maximum(np.linalg.norm(data, axis=1), 1e-9) * np.linalg.norm(vector)
        wanted = np.sort(data @ vector / norms)[::-1][:5]
        near = [one.similarity for one in opened.near(vector, 12) if one.file == str(paths[0])]
        np.testing.assert_allclose(near[:5], wanted[: len(near[:5])], atol=2e-3)


def test_feature_index__refuses_places_without_features_and_other_vectors(
    features: Make, tmp_path: Path
) -> None:
    build_index([features("a.tif")], tmp_path / "place.index")
    opened = FeatureIndex(tmp_path / "place.index")
    for place in (Place(0, 0), Place(15.0005, 45.153)):
        with pytest.raises(SceneError, match="none of the 1 files of the index holds features at"):
            opened.vector(place)
    with pytest.raises(DataError, match="vectors of 5 numbers"):
        opened.near(np.zeros(4, np.float32))


def test_build_index__refuses_what_cannot_be_compared(features: Make, tmp_path: Path) -> None:
    one, other = features("a.tif"), features("b.tif", DEO_MODEL="other")
    with pytest.raises(DataError, match=r"b.tif cannot be compared with .*DEO_MODEL: 'toy'"):
        build_index([one, other], tmp_path / "place.index")
    apart = [features(f"{n}.tif", DEO_COMPONENTS="3 of 5, fitted on this map") for n in "cd"]
    with pytest.raises(DataError, match="fitted on each of them"):
        build_index(apart, tmp_path / "place.index")
    assert not (tmp_path / "place.index").exists()


def test_build_index__refuses_other_files_and_what_exists(features: Make, tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match="no map of features"):
        build_index([tmp_path / "text.tif"], tmp_path / "place.index")
    path = features("a.tif")
    (tmp_path / "cut.tif").write_bytes(path.read_bytes()[:-10])
    with pytest.raises(SceneError, match="is damaged: it is cut off"):
        build_index([tmp_path / "cut.tif"], tmp_path / "place.index")
    with pytest.raises(OutputError, match="exists"):
        build_index([path], path)


def test_feature_index__refuses_folders_that_hold_none(features: Make, tmp_path: Path) -> None:
    built = tmp_path / "place.index"
    build_index([features("a.tif")], built)
    for name in ("vectors.usearch", "index.json"):
        copy = tmp_path / f"without {name}"
        shutil.copytree(built, copy)
        (copy / name).unlink()
        with pytest.raises(DataError, match="is no index"):
            FeatureIndex(copy)
    (built / "vectors.usearch").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no index"):
        FeatureIndex(built)
