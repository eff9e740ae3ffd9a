"""PASTIS on a miniature tree in its authors' layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import BandError
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.benchmarks.pastis import PASTIS_BANDS
from deo.training.tasks.scores import IGNORE


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    (tmp_path / "DATA_S2").mkdir()
    (tmp_path / "ANNOTATIONS").mkdir()
    features = []
    for fold in range(1, 6):
        series = np.stack([write.stack(PASTIS_BANDS)] * 3).astype(np.int16)
        series[0] = 9000  # a cloud on one date
        np.save(tmp_path / "DATA_S2" / f"S2_{fold}.npy", series)
        target = np.zeros((3, 8, 8), np.uint8)
        target[0, :2], target[0, 2:4] = 19, 18
        np.save(tmp_path / "ANNOTATIONS" / f"TARGET_{fold}.npy", target)
        features.append({"properties": {"ID_PATCH": fold, "Fold": fold}, "geometry": None})
    (tmp_path / "metadata.geojson").write_text(json.dumps({"features": features}))
    return tmp_path


def test_read__every_sample(tree: Path, read_all: Callable[..., None]) -> None:
    read_all("pastis", tree)


def test_problems__no_metadata(tree: Path, refuses_without: Callable[..., None]) -> None:
    message = r"split file metadata\.geojson is missing"
    refuses_without("pastis", tree, "metadata.geojson", message)


def test_open__median_over_time_void_ignored_folds(tree: Path) -> None:
    splits = benchmark("pastis").open(tree, bands=BandSet(["B8A", "B02"]))
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 3,
        "valid": 1,
        "test": 1,
    }
    sample = splits["test"][0]
    assert sample.image[:, 0, 0].tolist() == [900, 200]
    assert (sample.target[:2] == IGNORE).all()
    assert (sample.target[2:4] == 18).all()


def test_read__a_series_of_other_bands_is_refused(tree: Path) -> None:
    np.save(tree / "DATA_S2/S2_5.npy", np.zeros((3, 9, 8, 8), np.int16))
    with pytest.raises(BandError, match=r"S2_5\.npy has shape \(3, 9, 8, 8\), wanted \(T, 10,"):
        benchmark("pastis").open(tree)["test"][0]
