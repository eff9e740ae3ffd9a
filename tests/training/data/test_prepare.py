"""Preparation: fMoW trees with the exact naming, scenes, HDF5; resuming, skipping, reporting."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio

from deo.bands import MODEL_BANDS
from deo.errors import BusyError, DataError, OutputError
from deo.files.lock import claim
from deo.files.publish import make_folder
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data import prepare as preparation
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare
from deo.training.data.samples import open_samples
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scenes__cut_by_stride_and_valid_area(
    tmp_path: Path, workers: int, make: Any, listed: Any
) -> None:
    scenes = make.scenes(tmp_path / "in")
    report = prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out", workers=workers)
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) == 2 * 4 * 3
    names = listed.origins(tmp_path / "out")
    for number in (0, 7, 23):
        name, row, col = names[number].split(":")
        values = scenes[int(name[5])][CHOSEN]
        cut = values[:, int(row) : int(row) + 16, int(col) : int(col) + 16]
        np.testing.assert_array_equal(shards[number], cut)


def test_scenes__a_bad_one_is_listed_and_the_rest_goes_on(
    tmp_path: Path, make: Any, listed: Any
) -> None:
    make.scenes(tmp_path / "in", count=1)
    (tmp_path / "in" / "bad.tif").write_bytes(b"no raster")
    make.raster(tmp_path / "in" / "small.tif", make.image(13, 8), names=ESA)
    make.raster(tmp_path / "in" / "four.tif", make.image(4, 40), names=ESA[:4])
    report = prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    assert report.samples == 12
    found = "\n".join(
        f"{name} {reason}" for name, reason in listed.reasons(tmp_path / "out").items()
    )
    assert "bad.tif" in found
    assert "8 x 8 pixels; wanted at least 16" in found
    assert "missing bands" in found


def test_prepare__stopped_and_started_again_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    make.scenes(tmp_path / "in")
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "whole")
    made, real = [], preparation.make_part

    def stop_at_the_third(arguments: Any) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(arguments[2])
        real(arguments)

    monkeypatch.setattr(preparation, "make_part", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(DataError, match="has not finished"):
        Shards(tmp_path / "out")
    again: list[int] = []

    def count(arguments: Any) -> None:
        again.append(arguments[2])
        real(arguments)

    monkeypatch.setattr(preparation, "make_part", count)
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    assert not set(made) & set(again)
    for path in (tmp_path / "whole").glob("*.*"):
        if path.name != "plan.json":
            assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_prepare__remakes_a_shard_that_was_deleted(tmp_path: Path, make: Any) -> None:
    make.scenes(tmp_path / "in")
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    path = tmp_path / "out" / "shard-00001.bin"
    before = path.read_bytes()
    path.unlink()
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    assert path.read_bytes() == before
    Shards(tmp_path / "out").verify()


def test_prepare__an_unwritable_output_is_said(tmp_path: Path, make: Any) -> None:
    make.scenes(tmp_path / "in", count=1)
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out: it is a file"):
        prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")


def test_prepare__hdf5_to_shards(tmp_path: Path, make: Any) -> None:
    images = np.stack([make.image(10, 8, seed=seed) for seed in range(40)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = images.astype(np.float32) + 0.2
    plan = Preparation(source=tmp_path / "a.h5", kind=recognise_source(tmp_path / "a.h5"))
    prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert len(shards) == 40
    np.testing.assert_array_equal(np.stack([shards[i] for i in range(40)]), images)


def test_scenes__real_ones(shared: Path, tmp_path: Path, listed: Any) -> None:
    plan = Preparation(
        source=shared / "data" / "sentinel2",
        kind="scenes",
        size=96,
        valid=0.95,
        pattern="bercy_[12]_*.tif",
    )
    report = prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) > 10
    assert json.loads((tmp_path / "out" / "index.json").read_text())["details"]["statistics"]
    with rasterio.open(shared / "data" / "sentinel2" / "bercy_1_20161130.tif") as raster:
        name, row, col = listed.origins(tmp_path / "out")[0].split(":")
        assert name == "bercy_1_20161130.tif"
        window = rasterio.windows.Window(int(col), int(row), 96, 96)
        values = raster.read([index + 1 for index in CHOSEN], window=window)
    valid = (values > 0).all(axis=0)
    np.testing.assert_array_equal(shards[0][:, valid], values[:, valid])


def test_shards__of_zeros_are_not_trained_on(tmp_path: Path, make: Any) -> None:
    prepare(make.samples_plan(make.hdf5(tmp_path / "a.h5", make.numbers)), tmp_path / "out")
    open_samples(tmp_path / "out")
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    index["details"]["statistics"] = {name: {"max": 1.0} for name in MODEL_BANDS}
    (tmp_path / "out" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="rounded reflectance or nothing"):
        open_samples(tmp_path / "out")


def test_scenes__links_and_cases_are_followed_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Any, listed: Any
) -> None:
    make.scenes(tmp_path / "store", count=1)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "2023").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "in" / "deep" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "deep", target_is_directory=True)
    make.raster(tmp_path / "in" / "B.TIF", make.image(13, 40), names=ESA)
    (tmp_path / "in" / "._B.TIF").write_bytes(b"junk")
    (tmp_path / "in" / "__MACOSX").mkdir()
    (tmp_path / "in" / "__MACOSX" / "B.TIF").write_bytes(b"junk")
    (tmp_path / "in" / "photo.png").touch()
    report = prepare(make.scene_plan(tmp_path / "in", stride=16), tmp_path / "out")
    assert report.skipped == 0
    assert {name.split(":")[0] for name in listed.origins(tmp_path / "out")} == {
        "city_0.tif",
        "B.TIF",
    }
    assert "1 file is left out, as only scenes are read: 1 .png" in caplog.text


def test_prepare__two_in_one_folder_one_refuses(tmp_path: Path, make: Any) -> None:
    make.scenes(tmp_path / "in", count=1)
    (tmp_path / "out").mkdir()
    with (
        claim(make_folder(tmp_path / "out" / "parts")),
        pytest.raises(BusyError, match="another run"),
    ):
        prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    assert prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out").samples == 12
