"""WebDataset tars, and what is said of broken ones."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import recognise_source
from deo.training.data.samples import open_samples
from deo.training.data.tars import TarStream

ESA = [band.name for band in SENTINEL2]


def test_tars__junk_is_no_sample_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    members = {"0.npy": make.npy(make.numbers[0]), "._0.npy": b"junk", "__MACOSX/0.npy": b"junk"}
    make.tar(tmp_path / "a.TAR", members | {"0.png": b"x", "1.png": b"x"})
    make.tar(tmp_path / "._a.tar", {"0.npy": b"junk"})
    (tmp_path / "notes.txt").touch()
    assert recognise_source(tmp_path) == "samples"
    assert len(open_samples(tmp_path)) == 1
    assert "2 .png" in caplog.text
    assert "1 .txt" in caplog.text


def test_tars__arrays_and_rasters_in_stream_order(tmp_path: Path, make: Any) -> None:
    arrays = make.samples(4)
    thirteen = make.samples(1, channels=13)[0]
    make.raster(tmp_path / "one.tif", thirteen, names=ESA, nodata=0)
    make.tar(
        tmp_path / "a-000.tar",
        {f"{i}.npy": make.npy(a) for i, a in enumerate(arrays)} | {"0.json": b"{}"},
    )
    make.tar(tmp_path / "a-001.tar", {"x.tif": (tmp_path / "one.tif").read_bytes()})
    (tmp_path / "one.tif").unlink()
    stream = open_samples(tmp_path)
    assert isinstance(stream, TarStream)
    assert (len(stream), stream.run_length) == (5, 1024)
    np.testing.assert_array_equal(stream[3], arrays[3])
    np.testing.assert_array_equal(stream[4], thirteen[[ESA.index(name) for name in MODEL_BANDS]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stream))[0], arrays[0])


def test_tars__broken_ones_are_said(tmp_path: Path, make: Any) -> None:
    make.tar(tmp_path / "empty.tar", {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no \.npy or \.tif"):
        open_samples(tmp_path / "empty.tar")
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    with pytest.raises(DataError, match="not a readable uncompressed tar"):
        open_samples(tmp_path / "junk.tar")
    make.tar(tmp_path / "odd.tar", {"a.npy": make.npy(make.samples(1, channels=4)[0])})
    with pytest.raises(DataError, match=r"a\.npy in .*4 channels"):
        _ = open_samples(tmp_path / "odd.tar")[0]
