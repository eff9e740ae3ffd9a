"""WebDataset tars, and what is said of broken ones."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import recognise_source
from deo.training.data.samples import open_samples
from deo.training.data.tars import TarStream


def random_image(channels: int, size: int, *, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return rng.integers(200, 9000, (channels, size, size), dtype=np.uint16)


def npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


NUMBERS = np.stack([random_image(10, 8, seed=seed) for seed in range(20)])


ESA = [band.name for band in SENTINEL2]


def random_samples(count: int, size: int = 8, channels: int = 10) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 9000, (channels, size, size), dtype=np.uint16) for _ in range(count)]


def write_scene(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, nodata: int | None = 0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(10, 0, 500000, 0, -10, 5000000),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)


def test_tars__junk_is_no_sample_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = {"0.npy": npy(NUMBERS[0]), "._0.npy": b"junk", "__MACOSX/0.npy": b"junk"}
    write_tar(tmp_path / "a.TAR", members | {"0.png": b"x", "1.png": b"x"})
    write_tar(tmp_path / "._a.tar", {"0.npy": b"junk"})
    (tmp_path / "notes.txt").touch()
    assert recognise_source(tmp_path) == "samples"
    assert len(open_samples(tmp_path)) == 1
    assert "2 .png" in caplog.text
    assert "1 .txt" in caplog.text


def test_tars__arrays_and_rasters_in_stream_order(tmp_path: Path) -> None:
    arrays = random_samples(4)
    thirteen = random_samples(1, channels=13)[0]
    write_scene(tmp_path / "one.tif", thirteen, names=ESA)
    write_tar(
        tmp_path / "a-000.tar",
        {f"{i}.npy": npy(a) for i, a in enumerate(arrays)} | {"0.json": b"{}"},
    )
    write_tar(tmp_path / "a-001.tar", {"x.tif": (tmp_path / "one.tif").read_bytes()})
    (tmp_path / "one.tif").unlink()
    stream = open_samples(tmp_path)
    assert isinstance(stream, TarStream)
    assert (len(stream), stream.run_length) == (5, 1024)
    np.testing.assert_array_equal(stream[3], arrays[3])
    np.testing.assert_array_equal(stream[4], thirteen[[ESA.index(name) for name in MODEL_BANDS]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stream))[0], arrays[0])


def test_tars__broken_ones_are_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "empty.tar", {"readme.txt": b"x"})
    with pytest.raises(DataError, match=r"no \.npy or \.tif"):
        open_samples(tmp_path / "empty.tar")
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    with pytest.raises(DataError, match="not a readable uncompressed tar"):
        open_samples(tmp_path / "junk.tar")
    write_tar(tmp_path / "odd.tar", {"a.npy": npy(random_samples(1, channels=4)[0])})
    with pytest.raises(DataError, match=r"a\.npy in .*4 channels"):
        _ = open_samples(tmp_path / "odd.tar")[0]
