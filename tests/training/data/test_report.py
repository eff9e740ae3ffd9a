"""The report of a preparation, and what is said where nothing came out of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.prepare import prepare

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


def test_scenes__report_has_the_statistics(tmp_path: Path, make: Any) -> None:
    scenes = make.scenes(tmp_path / "in", count=1)
    report = prepare(make.scene_plan(tmp_path / "in", stride=16, valid=1.0), tmp_path / "out")
    seen = scenes[0][CHOSEN][:, :32, :32].astype(np.float64)
    rows = report.statistics.rows(MODEL_BANDS.names)
    assert rows["B8A"]["mean"] == pytest.approx(seen[7].mean())
    assert rows["B8A"]["std"] == pytest.approx(seen[7].std())
    assert (rows["B12"]["min"], rows["B12"]["max"]) == (seen[9].min(), seen[9].max())
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("4 samples in 2 shards")
    assert "| B8A |" in text


def test_prepare__nothing_usable_is_said(tmp_path: Path, make: Any) -> None:
    make.raster(tmp_path / "in" / "small.tif", make.image(13, 8), names=ESA)
    with pytest.raises(DataError, match=r"gave no sample: 1 records were skipped(?s:.*)8 x 8"):
        prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no scene"):
        prepare(make.scene_plan(tmp_path / "empty"), tmp_path / "out2")


def test_archives__nothing_but_zeros_is_refused(tmp_path: Path, make: Any) -> None:
    source = make.hdf5(tmp_path / "a.h5", np.zeros((20, 10, 8, 8), np.uint16))
    with pytest.raises(DataError, match=r"gave no sample: 20 records were skipped"):
        prepare(make.samples_plan(source), tmp_path / "out")
