"""Digital numbers of samples, however an archive stores them."""

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DeoError
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare
from deo.training.data.samples import open_samples
from deo.training.data.shards import Shards


def write_raster(
    path: Path, values: NDArray[Any], *, names: list[str] | None = None, **profile: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    given = {"driver": "GTiff", "crs": "EPSG:32631", "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype, **given | profile
    ) as raster:
        raster.write(values)
        for number, name in enumerate(names or [], start=1):
            raster.set_band_description(number, name)
    return path


def random_image(channels: int, size: int, *, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    return rng.integers(200, 9000, (channels, size, size), dtype=np.uint16)


def reasons(folder: Path) -> dict[str, str]:
    with (folder / "skipped.csv").open() as file:
        return {row["origin"]: row["reason"] for row in csv.DictReader(file)}


def origins(folder: Path) -> list[str]:
    with (folder / "samples.csv").open() as file:
        return [row["origin"] for row in csv.DictReader(file)]


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


def write_hdf5(path: Path, images: NDArray[Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images).attrs.update(attributes)
    return path


def as_rasters(folder: Path, images: NDArray[Any], tags: dict[str, str]) -> dict[str, bytes]:
    members = {}
    for number, image in enumerate(images):
        path = write_raster(folder / f"{number}.tif", image, names=list(MODEL_BANDS))
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
        members[f"chips/{number}.tif"] = path.read_bytes()
    return members


NUMBERS = np.stack([random_image(10, 8, seed=seed) for seed in range(20)])


ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "hdf5 of reflectance": lambda at: write_hdf5(at / "a.h5", (NUMBERS / 1e4).astype("f4")),
    "hdf5 of doubles": lambda at: write_hdf5(at / "a.h5", NUMBERS / 1e4),
    "hdf5 with the offset": lambda at: write_hdf5(
        at / "a.h5", NUMBERS + np.uint16(1000), processing_baseline="05.10"
    ),
    "hdf5 with a scale": lambda at: write_hdf5(
        at / "a.h5", NUMBERS + np.uint16(1000), scale_factor=1e-4, add_offset=-0.1
    ),
    "hdf5, big-endian": lambda at: write_hdf5(at / "a.h5", NUMBERS.astype(">u2")),
    "tar of reflectance": lambda at: write_tar(
        at / "a.tar", {f"{n}.npy": npy((one / 1e4).astype("f4")) for n, one in enumerate(NUMBERS)}
    ),
    "tar, big-endian": lambda at: write_tar(
        at / "a.tar", {f"{n}.npy": npy(one.astype(">u2")) for n, one in enumerate(NUMBERS)}
    ),
    "tar of tagged rasters": lambda at: write_tar(
        at / "a.tar",
        as_rasters(at, NUMBERS + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ),
    "tar of float rasters": lambda at: write_tar(
        at / "a.tar", as_rasters(at, (NUMBERS / 1e4).astype("f4"), {})
    ),
    "tar whose members are named by product": lambda at: write_tar(
        at / "a.tar",
        {
            name.replace(
                "chips/",
                "S2A_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759/",
            ): data
            for name, data in as_rasters(at, NUMBERS + np.uint16(1000), {}).items()
        },
    ),
}


def samples_plan(source: Path, **options: Any) -> Preparation:
    return Preparation(source=source, kind=recognise_source(source), size=8, **options)


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives__the_same_numbers_however_they_are_stored(tmp_path: Path, case: str) -> None:
    (tmp_path / "in").mkdir()
    source = ARCHIVES[case](tmp_path / "in")
    report = prepare(samples_plan(source), tmp_path / "out")
    shards, direct = Shards(tmp_path / "out"), open_samples(source)
    assert report.samples == 20
    for number in range(20):
        np.testing.assert_array_equal(shards[number], NUMBERS[number])
        np.testing.assert_array_equal(direct[number], NUMBERS[number])
    (made,) = shards.index.details["radiometry"]
    assert made.startswith("stored x ")


@pytest.mark.parametrize("kind", ["h5", "tar"])
def test_archives__what_cannot_be_told_is_refused(tmp_path: Path, kind: str) -> None:
    images = (NUMBERS / 100).astype("f4")
    if kind == "h5":
        source = write_hdf5(tmp_path / "a.h5", images)
    else:
        source = write_tar(tmp_path / "a.tar", {f"{n}.npy": npy(a) for n, a in enumerate(images)})
    with pytest.raises(DeoError, match=r"(?s)too small for reflectance x 10 000.*--scale"):
        prepare(samples_plan(source), tmp_path / "out")
    report = prepare(samples_plan(source, scale=100.0, offset=0.0), tmp_path / "told")
    assert report.samples == 20
    np.testing.assert_array_equal(Shards(tmp_path / "told")[4], NUMBERS[4])


def test_archives__empty_and_odd_samples_are_counted_one_by_one(tmp_path: Path) -> None:
    images = (NUMBERS / 1e4).astype("f4")
    images[3], images[5], images[7] = 0, np.nan, NUMBERS[7]
    images[9, 2, 0, 0], images[9, 4, 0, 1] = np.nan, np.inf
    report = prepare(samples_plan(write_hdf5(tmp_path / "a.h5", images)), tmp_path / "out")
    assert (report.samples, report.skipped) == (17, 3)
    skipped = reasons(tmp_path / "out")
    assert skipped["a.h5:3"] == skipped["a.h5:5"] == "every pixel is 0 or missing"
    assert "cannot be reflectance" in skipped["a.h5:7"]
    shards = Shards(tmp_path / "out")
    holed = shards[origins(tmp_path / "out").index("a.h5:9")]
    assert not holed[:, 0, :2].any()
    np.testing.assert_array_equal(holed[:, 1:], NUMBERS[9][:, 1:])
