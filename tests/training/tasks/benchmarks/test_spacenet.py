"""SpaceNet v1 on a miniature tree in its authors' layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.errors import DataError
from deo.training.tasks.benchmarks.catalogue import benchmark

FOOTPRINTS = "vectordata/geojson/Geo_AOI_1_RIO_img{}.geojson"


@pytest.fixture
def tree(tmp_path: Path, write: Any) -> Path:
    (tmp_path / FOOTPRINTS).parent.mkdir(parents=True)
    image = np.stack([write.plane(level) for level in (30, 20, 10)]).astype(np.uint8)
    ring = [[5e5, 4e6], [5e5 + 40, 4e6], [5e5 + 40, 4e6 - 80], [5e5, 4e6 - 80], [5e5, 4e6]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    for number in range(1, 8):
        write.tif(tmp_path / "3band" / f"3band_AOI_1_RIO_img{number}.tif", image)
        features = [] if number == 2 else [{"geometry": shape}]
        collection = {"type": "FeatureCollection", "features": features}
        (tmp_path / FOOTPRINTS.format(number)).write_text(json.dumps(collection))
    return tmp_path


def test_read__every_sample(tree: Path, read_all: Callable[..., None]) -> None:
    read_all("spacenet1", tree)


def test_problems__footprints_are_missing(tree: Path, refuses_without: Callable[..., None]) -> None:
    refuses_without("spacenet1", tree, FOOTPRINTS.format(3), "lack footprints: img3")


def test_open__footprints_and_shares(tree: Path) -> None:
    splits = benchmark("spacenet1").open(tree)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [5, 1, 1]
    assert splits["train"][0].target[:, :4].all()
    assert not splits["train"][0].target[:, 4:].any()
    assert not splits["train"][1].target.any()  # no building


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"features": 3}', '{"features": [{"a": 1}]}'])
def test_read__footprints_that_are_none(text: str, tree: Path) -> None:
    (tree / FOOTPRINTS.format(1)).write_text(text)
    with pytest.raises(DataError, match=r"img1\.geojson is (no GeoJSON of footprints|not JSON)"):
        benchmark("spacenet1").open(tree)["train"][0]
