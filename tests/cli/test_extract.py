from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner, Result
from rasterio.transform import from_origin

from deo import MODEL_BANDS, api
from deo.cli import cli
from deo.errors import DeoError

MICRO = ["--model", "test_deo_swin", "--untrained", "--tile", "64", "--overlap", "32"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scene(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        values = np.random.default_rng(1).integers(100, 4000, (10, 70, 60)).astype(np.uint16)
        path = tmp_path / name
        with rasterio.open(
            path, "w", driver="GTiff", count=10, height=70, width=60, dtype="uint16", nodata=0,
            crs="EPSG:32633", transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as file:  # fmt: skip
            file.write(values)
            file.descriptions = tuple(MODEL_BANDS)
        return path

    return make


def deo(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_extract__one_scene(scene: Callable[[str], Path], tmp_path: Path) -> None:
    result = deo("extract", scene("a.tif"), "-o", tmp_path / "out.tif", *MICRO, "--layer", "0",
                 "--dtype", "int8", "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "out.tif" in result.output
    with rasterio.open(tmp_path / "out.tif") as file:
        assert (file.count, file.dtypes[0], file.shape) == (16, "int8", (18, 15))


def test_extract__all_layers(scene: Callable[[str], Path], tmp_path: Path) -> None:
    result = deo("extract", scene("a.tif"), "-o", tmp_path / "out.tif", *MICRO, "--layer", "all")
    assert result.exit_code == 0, result.output
    for layer in range(4):
        with rasterio.open(tmp_path / f"out_layer{layer}.tif") as file:
            assert file.count == 16 * 2**layer
            assert file.tags()["DEO_LAYER"] == str(layer)


def test_extract__many_scenes_with_failures_listed(
    scene: Callable[[str], Path], tmp_path: Path
) -> None:
    good, other = scene("good.tif"), scene("other.tif")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(good.read_bytes()[:3000])
    listed = tmp_path / "list.txt"
    listed.write_text(f"{good}\n{broken}\n{other}\n{tmp_path / 'missing.tif'}\n")
    arguments = ("extract", f"@{listed}", "-o", tmp_path / "out", *MICRO, "--quiet")
    result = deo(*arguments)
    assert isinstance(result.exception, DeoError)
    assert "2 scenes failed" in str(result.exception)
    assert "broken.tif" in str(result.exception)
    assert "missing.tif" in str(result.exception)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.tif", "other.tif"]
    before = (tmp_path / "out" / "good.tif").stat().st_mtime_ns
    again = deo(*arguments)
    assert "complete already" in again.output
    assert (tmp_path / "out" / "good.tif").stat().st_mtime_ns == before


def test_extract__a_fault_with_one_scene_does_not_cost_the_others(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scene("first.tif"), scene("second.tif")
    run = api.extract

    def fail_on_the_first(source: str, *args: Any, **kwargs: Any) -> list[Path]:
        if source == str(first):
            raise KeyError("a fault of ours")
        return run(source, *args, **kwargs)

    monkeypatch.setattr(api, "extract", fail_on_the_first)
    result = deo("extract", first, second, "-o", tmp_path / "out", *MICRO, "--quiet")
    assert isinstance(result.exception, DeoError)
    assert "KeyError('a fault of ours')" in str(result.exception)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second.tif"]


def test_extract__shards_by_option_and_environment(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(f"{number}.tif") for number in range(3)]
    result = deo("extract", *scenes, "-o", tmp_path / "out", *MICRO, "--shard", "1/2")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.tif"]
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    result = deo("extract", *scenes, "-o", tmp_path / "slurm", *MICRO)
    assert "share 2/3: 1 of 3 scenes" in result.output
    assert [path.name for path in (tmp_path / "slurm").iterdir()] == ["2.tif"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layer", "fine"], "layer 'fine'"),
        (["--mean", "1,x", "--contract", "stats"], "'1,x'"),
        (["--bands", "B04,B99"], "B99"),
        (["--shard", "3/2"], "shard 3/2"),
        (["--preview", "x.gif"], r"x\.gif"),
    ],
)
def test_extract__refuses_with_one_message(
    scene: Callable[[str], Path], tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = deo("extract", scene("a.tif"), "-o", tmp_path / "out.tif", *MICRO, *arguments)
    assert isinstance(result.exception, DeoError)
    assert result.exit_code == 1
    with pytest.raises(DeoError, match=said):
        raise result.exception
    assert not (tmp_path / "out.tif").exists()


def test_similar__maps_and_refuses(scene: Callable[[str], Path], tmp_path: Path) -> None:
    deo("extract", scene("a.tif"), "-o", tmp_path / "out.tif", *MICRO, "--layer", "0")
    arguments = ["similar", tmp_path / "out.tif", "--at", "15.003,45.1515"]
    result = deo(*arguments, "-o", tmp_path / "map.tif", "--preview", tmp_path / "map.png")
    assert result.exit_code == 0, result.output
    assert "above 0.9" in result.output
    assert (tmp_path / "map.png").exists()
    again = deo(*arguments, "-o", tmp_path / "map.tif")
    assert "exists" in str(again.exception)
    for place in ("15.003", "a,b", "1,2,3"):
        result = deo("similar", tmp_path / "out.tif", "--at", place, "-o", tmp_path / "x.tif")
        assert isinstance(result.exception, DeoError)
