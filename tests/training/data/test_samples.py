"""Samples: shards, HDF5, tars, scenes, and what each says when it is broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.samples import open_samples

ESA = [band.name for band in SENTINEL2]


def test_scenes__nothing_usable_is_said(tmp_path: Path, make: Any) -> None:
    make.raster(tmp_path / "a.tif", make.samples(1, size=12, channels=13)[0], names=ESA, nodata=0)
    with pytest.raises(DataError, match="not one cut of 96 x 96"):
        open_samples(tmp_path)


def test_open_samples__empty_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no samples"):
        open_samples(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_samples(tmp_path / "none")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is of a kind that cannot be read"):
        open_samples(tmp_path / "notes.txt")


def test_own_source__the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    document = Path(__file__).parents[3] / "docs" / "data.md"
    code = document.read_text().split("```python\n")[1].split("```")[0]
    assert code.count("\n") <= 26
    (tmp_path / "my_data.py").write_text(code.replace("/data/mine", str(tmp_path)))
    sample = make.samples(1)[0]
    np.savez(tmp_path / "a.npz", **dict(zip(MODEL_BANDS, sample, strict=True)))
    monkeypatch.syspath_prepend(str(tmp_path))
    samples = open_samples("my_data:open_mine")
    assert len(samples) == 1
    np.testing.assert_array_equal(samples[0], sample)
    for wrong in ("my_data:missing", "no_such_module:x", "my_data:Mine"):
        with pytest.raises(DataError, match="names no callable that returns samples"):
            open_samples(wrong)
