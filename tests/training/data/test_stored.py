"""Digital numbers of samples, however an archive stores them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DeoError
from deo.training.data.prepare import prepare
from deo.training.data.samples import open_samples
from deo.training.data.shards import Shards


def as_rasters(
    make: Any, folder: Path, images: NDArray[Any], tags: dict[str, str]
) -> dict[str, bytes]:
    members = {}
    for number, image in enumerate(images):
        path = make.raster(folder / f"{number}.tif", image, names=list(MODEL_BANDS))
        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
        members[f"chips/{number}.tif"] = path.read_bytes()
    return members


ARCHIVES: dict[str, Callable[[Any, Path], Path]] = {
    "hdf5 of reflectance": lambda make, at: make.hdf5(
        at / "a.h5", (make.numbers / 1e4).astype("f4")
    ),
    "hdf5 of doubles": lambda make, at: make.hdf5(at / "a.h5", make.numbers / 1e4),
    "hdf5 with the offset": lambda make, at: make.hdf5(
        at / "a.h5", make.numbers + np.uint16(1000), processing_baseline="05.10"
    ),
    "hdf5 with a scale": lambda make, at: make.hdf5(
        at / "a.h5", make.numbers + np.uint16(1000), scale_factor=1e-4, add_offset=-0.1
    ),
    "hdf5, big-endian": lambda make, at: make.hdf5(at / "a.h5", make.numbers.astype(">u2")),
    "tar of reflectance": lambda make, at: make.tar(
        at / "a.tar",
        {f"{n}.npy": make.npy((one / 1e4).astype("f4")) for n, one in enumerate(make.numbers)},
    ),
    "tar, big-endian": lambda make, at: make.tar(
        at / "a.tar",
        {f"{n}.npy": make.npy(one.astype(">u2")) for n, one in enumerate(make.numbers)},
    ),
    "tar of tagged rasters": lambda make, at: make.tar(
        at / "a.tar",
        as_rasters(make, at, make.numbers + np.uint16(1000), {"s2:processing_baseline": "05.10"}),
    ),
    "tar of float rasters": lambda make, at: make.tar(
        at / "a.tar", as_rasters(make, at, (make.numbers / 1e4).astype("f4"), {})
    ),
    "tar whose members are named by product": lambda make, at: make.tar(
        at / "a.tar",
        {
            name.replace(
                "chips/",
                "S2A_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759/",
            ): data
            for name, data in as_rasters(make, at, make.numbers + np.uint16(1000), {}).items()
        },
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives__the_same_numbers_however_they_are_stored(
    tmp_path: Path, case: str, make: Any
) -> None:
    (tmp_path / "in").mkdir()
    source = ARCHIVES[case](make, tmp_path / "in")
    report = prepare(make.samples_plan(source), tmp_path / "out")
    shards, direct = Shards(tmp_path / "out"), open_samples(source)
    assert report.samples == 20
    for number in range(20):
        np.testing.assert_array_equal(shards[number], make.numbers[number])
        np.testing.assert_array_equal(direct[number], make.numbers[number])
    (made,) = shards.index.details["radiometry"]
    assert made.startswith("stored x ")


@pytest.mark.parametrize("kind", ["h5", "tar"])
def test_archives__what_cannot_be_told_is_refused(tmp_path: Path, kind: str, make: Any) -> None:
    images = (make.numbers / 100).astype("f4")
    if kind == "h5":
        source = make.hdf5(tmp_path / "a.h5", images)
    else:
        source = make.tar(
            tmp_path / "a.tar", {f"{n}.npy": make.npy(a) for n, a in enumerate(images)}
        )
    with pytest.raises(DeoError, match=r"(?s)too small for reflectance x 10 000.*--scale"):
        prepare(make.samples_plan(source), tmp_path / "out")
    report = prepare(make.samples_plan(source, scale=100.0, offset=0.0), tmp_path / "told")
    assert report.samples == 20
    np.testing.assert_array_equal(Shards(tmp_path / "told")[4], make.numbers[4])


def test_archives__empty_and_odd_samples_are_counted_one_by_one(
    tmp_path: Path, make: Any, listed: Any
) -> None:
    images = (make.numbers / 1e4).astype("f4")
    images[3], images[5], images[7] = 0, np.nan, make.numbers[7]
    images[9, 2, 0, 0], images[9, 4, 0, 1] = np.nan, np.inf
    report = prepare(make.samples_plan(make.hdf5(tmp_path / "a.h5", images)), tmp_path / "out")
    assert (report.samples, report.skipped) == (17, 3)
    skipped = listed.reasons(tmp_path / "out")
    assert skipped["a.h5:3"] == skipped["a.h5:5"] == "every pixel is 0 or missing"
    assert "cannot be reflectance" in skipped["a.h5:7"]
    shards = Shards(tmp_path / "out")
    holed = shards[listed.origins(tmp_path / "out").index("a.h5:9")]
    assert not holed[:, 0, :2].any()
    np.testing.assert_array_equal(holed[:, 1:], make.numbers[9][:, 1:])
