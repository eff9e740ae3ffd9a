"""Every example runs, with a micro model on miniature data, and stays short."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from deo import MODEL_BANDS, load_backbone
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.tasks.benchmarks.eurosat import EUROSAT_CLASSES

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [band.name for band in SENTINEL2]
MICRO = ["--model", "test_deo_swin", "--untrained"]

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries shown


def write(path: Path, *, size: int, seed: int, names: bool = True, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2, (1, size, size)).astype(np.int16)
    if not mask:
        values = rng.integers(300, 4000, (13, size, size)).astype(np.uint16)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=size,
        width=size,
        dtype=values.dtype,
        crs="EPSG:32630",
        transform=from_origin(5e5, 4e6, 10, 10),
    ) as out:
        out.write(values)
        if names and not mask:
            out.descriptions = NAMES


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("eurosat")
    for name in EUROSAT_CLASSES:
        for tile in (1, 2):
            write(root / name / f"{name}_{tile}.tif", size=64, seed=tile, names=False)
    return root


@pytest.fixture(scope="module")
def floods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("floods")
    for chip in range(2):
        write(root / f"Spain_{chip}_S2Hand.tif", size=64, seed=chip)
        write(root / f"Spain_{chip}_LabelHand.tif", size=64, seed=chip, mask=True)
    return root


@pytest.fixture
def example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """Run an example as a script, in an empty folder; its output."""

    def run(name: str, *arguments: object) -> str:
        torch.set_num_threads(1)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_finetune_timm(example: Callable[..., str], tiles: Path) -> None:
    assert "epoch 1: loss" in example("finetune_timm", tiles, *MICRO, "--epochs", 1)


def test_segment_smp(example: Callable[..., str], floods: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    out = example("segment_smp", floods, *MICRO, "--epochs", 1, "--crop", 64)
    assert "epoch 1: loss" in out


def test_torchgeo_trainer(example: Callable[..., str], floods: Path) -> None:
    pytest.importorskip("torchgeo.trainers")
    out = example("torchgeo_trainer", floods, *MICRO, "--steps", 1)
    assert "trained 1 steps" in out


def test_lora_peft(example: Callable[..., str], tiles: Path) -> None:
    pytest.importorskip("peft")
    out = example("lora_peft", tiles, *MICRO, "--epochs", 1)
    assert "parameters learn" in out


def test_autobackbone(example: Callable[..., str]) -> None:
    pytest.importorskip("transformers")
    assert "transformers: [(1, 16, 16, 16)" in example("autobackbone", *MICRO)


def test_similar_chips(example: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("geopandas")
    write(tmp_path / "scene.tif", size=192, seed=0)
    out = example("similar_chips", tmp_path / "scene.tif", *MICRO, "--chip", 64)
    assert out.startswith("9 chips of 128 features")
    assert out.count(" N, ") == 5


def test_pretrain_own_scenes(example: Callable[..., str], tmp_path: Path) -> None:
    write(tmp_path / "scenes/a.tif", size=96, seed=0)
    out = example(
        "pretrain_own_scenes", tmp_path / "scenes", "--recipe", "micro", "--steps", 1,
        "--set", "data.size=48", "--set", "run.batch_size=2", "--set", "run.workers=0",
    )  # fmt: skip
    assert "test_deo_swin: 1 steps" in out
    assert "features: [(1, 16, 16, 16)" in out


def test_train_embedded(example: Callable[..., str], tmp_path: Path) -> None:
    write(tmp_path / "scenes/a_1_20200101.tif", size=128, seed=0)
    out = example(
        "train_embedded", tmp_path / "scenes", tmp_path / "out", "--set", "run.steps=1",
        "--set", "run.batch_size=2", "--set", "views.local_crops=1",
    )  # fmt: skip
    weights = tmp_path / "out/deo_swin_n.safetensors"
    assert out.splitlines()[-1] == str(weights)
    loaded = load_backbone("deo_swin_n", weights=weights)
    assert loaded.bands == MODEL_BANDS


def test_all__are_run_here_and_short() -> None:
    own = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert {path.stem for path in scripts} <= own
    for path in scripts:
        assert len(path.read_text().splitlines()) <= 60, path.name
