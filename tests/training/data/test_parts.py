"""Parts of a preparation: made again where they are damaged, kept where they are whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from deo.errors import OutputError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


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


def test_prepare__other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in")
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(OutputError, match=r"stride: 8 -> 16"):
        prepare(scene_plan(tmp_path / "in", stride=16), tmp_path / "out")


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"shard": null}'])
def test_prepare__a_damaged_part_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "in", count=1)
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    part, shard = tmp_path / "out/parts/00001.json", tmp_path / "out/shard-00001.bin"
    before, whole = shard.read_bytes(), part.read_text()
    part.write_text(damage)
    shard.write_bytes(bytes(len(before)))
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    assert "00001.json is damaged" in caplog.text
    assert (shard.read_bytes(), part.read_text()) == (before, whole)


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_prepare__under_a_damaged_plan_everything_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_scenes(tmp_path / "in", count=1)
    prepare(scene_plan(tmp_path / "in"), tmp_path / "out")
    plan = tmp_path / "out/plan.json"
    whole = plan.read_text()
    plan.write_text(damage)
    prepare(scene_plan(tmp_path / "in", stride=8), tmp_path / "out")
    assert "plan.json is damaged" in caplog.text
    assert plan.read_text() == whole
    Shards(tmp_path / "out").verify()


def test_prepare__what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_scenes(tmp_path / "in", count=1)
    out, mark = tmp_path / "out", "0123cdef.new"
    prepare(scene_plan(tmp_path / "in"), out)
    ours = [f".shard-00000.bin.{mark}", f".index.json.{mark}", f"parts/.00000.json.{mark}"]
    theirs = [".shard-00000.bin.bak", ".notes", f".other.{mark}"]
    for name in (*ours, *theirs):
        (out / name).touch()
    prepare(scene_plan(tmp_path / "in"), out)
    assert [name for name in (*ours, *theirs) if (out / name).exists()] == theirs
