"""The authors' HDF5 files, and what is said of broken ones."""

import logging
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import BandError, DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.channels import AUTHORS_ORDER
from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.prepare import prepare
from deo.training.data.samples import open_samples
from deo.training.data.shards import (
    Shards,
)

ESA = [band.name for band in SENTINEL2]


def write_images(path: Path, images: NDArray[Any], **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, **options)


def test_hdf5__thirteen_channels_are_the_authors(tmp_path: Path, make: Any) -> None:
    images = np.stack(make.samples(3, channels=13))
    write_images(tmp_path / "a.h5", images)
    samples = open_samples(tmp_path / "a.h5")
    np.testing.assert_array_equal(samples[2], images[2][[1, 2, 3, 4, 5, 6, 7, 8, 11, 12]])
    assert AUTHORS_ORDER[1:4] == ("B04", "B03", "B02")


def test_hdf5__names_in_the_attribute_win(tmp_path: Path, make: Any) -> None:
    images = np.stack(make.samples(2, channels=13))
    write_images(tmp_path / "a.h5", images)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["images"].attrs["bands"] = ",".join(ESA)
    samples = Hdf5Samples(tmp_path / "a.h5")
    np.testing.assert_array_equal(samples[0], images[0][[ESA.index(name) for name in MODEL_BANDS]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(samples))[1], samples[1])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"other": (2, 10, 4, 4)}, DataError, r"no dataset `images`.*other"),
        ({"images": (2, 10, 4)}, DataError, r"\(N, C, H, W\)"),
        ({"images": (2, 7, 4, 4)}, BandError, "7 channels without names"),
    ],
)
def test_hdf5__wrong_content_is_said(
    tmp_path: Path, content: dict[str, tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in content.items():
            file[name] = np.zeros(shape, np.uint16)
    with pytest.raises(error, match=message):
        open_samples(tmp_path / "a.h5")


def test_hdf5__not_hdf5_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(DataError, match="cannot be opened as HDF5"):
        open_samples(tmp_path / "a.h5")


def test_hdf5__ruinous_chunks_warn_and_good_ones_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    images = np.stack(make.samples(64))
    write_images(tmp_path / "good.h5", images, chunks=(1, 10, 8, 8))
    write_images(tmp_path / "bad.h5", images, chunks=(64, 1, 4, 4), compression="gzip")
    with caplog.at_level(logging.WARNING):
        Hdf5Samples(tmp_path / "good.h5")
        assert not caplog.records
        Hdf5Samples(tmp_path / "bad.h5")
    assert "64 times its own size" in caplog.text
    assert "deo prepare" in caplog.text


@pytest.mark.parametrize(
    "bands",
    [
        ",".join(MODEL_BANDS).encode(),
        list(MODEL_BANDS),
        [name.encode() for name in MODEL_BANDS],
        np.array(list(MODEL_BANDS), dtype=object),
        ", ".join(MODEL_BANDS),
    ],
)
def test_hdf5__names_of_bands_in_whatever_form(tmp_path: Path, bands: Any, make: Any) -> None:
    source = make.hdf5(tmp_path / "a.h5", make.numbers[:, ::-1], bands=bands)
    np.testing.assert_array_equal(open_samples(source)[3], make.numbers[3, ::-1])


def test_archives__nodata_of_hdf5_becomes_0(tmp_path: Path, make: Any) -> None:
    images = make.numbers.astype("i4")
    images[:, 3, 0] = -9999
    prepare(
        make.samples_plan(make.hdf5(tmp_path / "a.h5", images, _FillValue=-9999)), tmp_path / "out"
    )
    sample = Shards(tmp_path / "out")[0]
    assert not sample[:, 0].any()
    np.testing.assert_array_equal(sample[:, 1:], make.numbers[0][:, 1:])
