"""The report of a preparation, and what is said where nothing came out of it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


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


def write_scenes(folder: Path, count: int = 2) -> list[NDArray[np.uint16]]:
    scenes = []
    for number in range(count):
        values = random_image(13, 40, seed=number)
        values[:, :, 32:] = 0
        write_raster(folder / f"city_{number}.tif", values, names=ESA, nodata=0)
        scenes.append(values)
    return scenes


def scene_plan(folder: Path, **options: Any) -> Preparation:
    return Preparation(source=folder, kind="scenes", **{"size": 16, "stride": 8, **options})


def write_hdf5(path: Path, images: NDArray[Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images).attrs.update(attributes)
    return path


def samples_plan(source: Path, **options: Any) -> Preparation:
    return Preparation(source=source, kind=recognise_source(source), size=8, **options)


def test_scenes__report_has_the_statistics(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "in", count=1)
    report = prepare(scene_plan(tmp_path / "in", stride=16, valid=1.0), tmp_path / "out")
    seen = scenes[0][CHOSEN][:, :32, :32].astype(np.float64)
    rows = report.statistics.rows(MODEL_BANDS.names)
    assert rows["B8A"]["mean"] == pytest.approx(seen[7].mean())
    assert rows["B8A"]["std"] == pytest.approx(seen[7].std())
    assert (rows["B12"]["min"], rows["B12"]["max"]) == (seen[9].min(), seen[9].max())
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("4 samples in 2 shards")
    assert "| B8A |" in text


def test_prepare__nothing_usable_is_said(tmp_path: Path) -> None:
    write_raster(tmp_path / "in" / "small.tif", random_image(13, 8), names=ESA)
    with pytest.raises(DataError, match=r"gave no sample: 1 records were skipped(?s:.*)8 x 8"):
        prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no scene"):
        prepare(scene_plan(tmp_path / "empty"), tmp_path / "out2")


def test_archives__nothing_but_zeros_is_refused(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "a.h5", np.zeros((20, 10, 8, 8), np.uint16))
    with pytest.raises(DataError, match=r"gave no sample: 20 records were skipped"):
        prepare(samples_plan(source), tmp_path / "out")
