"""Reading one pair of fMoW images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.bands import MODEL_BANDS
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


def test_read_pair__resampled_to_the_size(tmp_path: Path, make: Any) -> None:
    data = make.fmow(tmp_path, table=False)
    prepare(Preparation(source=data.sentinel, kind="fmow", size=24), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert shards.index.shape == (10, 24, 24)
    source = data.images["airport", 0, 3][CHOSEN]
    assert shards[0].mean() == pytest.approx(source.mean(), rel=0.02)


def test_read_pair__reads_by_the_evidence_of_its_files(
    tmp_path: Path, make: Any, listed: Any
) -> None:
    wanted = make.image(13, 8)
    for location, (values, tags) in enumerate([
        (wanted, {}),
        (wanted + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ]):  # fmt: skip
        path = make.fmow_path(tmp_path / "in", "train", "airport", location, 0, ".tif")
        make.raster(path, values)
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
    make.raster(
        make.fmow_path(tmp_path / "in", "train", "airport", 2, 0, ".tif"),
        (wanted / 1e4).astype("f4"),
    )
    prepare(Preparation(source=tmp_path / "in", kind="fmow", size=8), tmp_path / "out")
    shards = Shards(tmp_path / "out")
    np.testing.assert_array_equal(np.stack([shards[0], shards[1]]), [wanted[CHOSEN]] * 2)
    (reason,) = listed.reasons(tmp_path / "out").values()
    assert "cannot be digital numbers" in reason
