"""The map equals the score: what a tuned network says of its samples, its map says of their scene.

The samples are synthetic chips of parcels; the scene holds them side by side.
"""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, Pixels
from deo.errors import ConfigError
from deo.training.tasks.finetune import Finished, finetune
from deo.training.tasks.predict import predict
from deo.training.tasks.scores import STATISTICS, confusion

SIDE, ACROSS, DOWN = 64, 3, 2


def ground(seed: int) -> NDArray[np.uint16]:
    """(10, DOWN x SIDE, ACROSS x SIDE) parcels of 8 pixels."""
    rng = np.random.default_rng(seed)
    level = rng.integers(200, 3000, (10, DOWN * SIDE // 8, ACROSS * SIDE // 8))
    parcels = level.repeat(8, axis=1).repeat(8, axis=2)
    return (parcels + rng.integers(0, 150, parcels.shape)).astype(np.uint16)


def write(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1],
        width=values.shape[2], dtype=values.dtype, crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(values)
        if len(values) == len(MODEL_BANDS):
            file.descriptions = tuple(MODEL_BANDS)
    return path


def chips(scene: NDArray[Any]) -> list[NDArray[Any]]:
    """The scene cut into its samples, row by row."""
    return [
        scene[:, row : row + SIDE, col : col + SIDE]
        for row in range(0, DOWN * SIDE, SIDE)
        for col in range(0, ACROSS * SIDE, SIDE)
    ]


def water(scene: NDArray[Any]) -> NDArray[np.uint8]:
    return (scene[6:7] > 1500).astype(np.uint8)


def changed(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.uint8]:
    return (abs(first[:1].astype(int) - second[:1]) > 800).astype(np.uint8)


SCENES = ground(0), ground(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of a scene, and its samples for every task."""
    root = tmp_path_factory.mktemp("place")
    first, second = SCENES
    for name, scene in (("first", first), ("second", second)):
        write(root / f"{name}.tif", scene)
    parts = zip(
        chips(first), chips(second), chips(water(first)), chips(changed(first, second)),
        strict=True,
    )  # fmt: skip
    for number, (one, other, wet, moved) in enumerate(parts):
        write(root / f"classify/{'odd' if number % 2 else 'even'}/{number}.tif", one)
        write(root / f"segment/images/{number}.tif", one)
        write(root / f"segment/masks/{number}.tif", wet)
        for folder, values in (("A", one), ("B", other), ("masks", moved)):
            write(root / f"change/{folder}/{number}.tif", values)
    return root


@cache
def tuned(task: str, data: Path, **settings: Any) -> Finished:
    """A network after one epoch; tests share it."""
    torch.set_num_threads(1)
    options: dict[str, Any] = {
        "dataset": "folder", "model": "test_deo_swin", "untrained": True, "device": "cpu",
        "width": 8, "epochs": 1, "batch": 2, "rate": 3e-3, "loss": "ce", "valid": 0.0,
        "classes": ("dry", "wet") if task == "segment" else (),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return finetune(task, data=data / task, output=folder, **options | settings)


def mapped(
    finished: Finished, place: Path, folder: Path, **settings: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Classes and probabilities of the scene."""
    sources = [place / "first.tif", place / "second.tif"]
    change = finished.tuned.description.task == "change"
    predict(
        finished.tuned, sources if change else sources[:1], folder / "map.tif",
        probabilities=folder / "shares.tif", overwrite=True, **settings,
    )  # fmt: skip
    with rasterio.open(folder / "map.tif") as classes, rasterio.open(folder / "shares.tif") as file:
        return classes.read(1), file.read()


def network_says(finished: Finished) -> NDArray[np.float32]:
    """Probabilities of every sample by the network itself."""
    network, contract, *_ = finished.tuned
    change = finished.tuned.description.task == "change"
    everywhere = np.ones((SIDE, SIDE), bool)
    dates = [
        [contract.apply(Pixels(chip.astype(np.float32), everywhere)) for chip in chips(scene)]
        for scene in SCENES
    ]
    images = torch.from_numpy(np.stack(dates, 1) if change else np.stack(dates[0]))
    with torch.inference_mode():
        return network.probabilities(images).numpy()


@pytest.mark.parametrize("contract", ["fixed", "pretrain", "scene"])
def test_classifier__each_cell_is_the_network_on_that_tile(
    contract: str, place: Path, tmp_path: Path
) -> None:
    finished = tuned("classify", place, contract=contract)
    classes, shares = mapped(finished, place, tmp_path)
    wanted = network_says(finished)
    assert classes.shape == (DOWN, ACROSS)
    np.testing.assert_allclose(shares.reshape(2, -1).T, wanted, atol=1e-5)
    assert (classes.ravel() == wanted.argmax(1)).all()


def test_classifier__overlapping_windows_give_finer_cells(place: Path, tmp_path: Path) -> None:
    finished = tuned("classify", place)
    classes, shares = mapped(finished, place, tmp_path, overlap=48)
    assert classes.shape == (DOWN * 4, ACROSS * 4)
    corner = network_says(finished)[0]  # one window alone covers the first cell
    np.testing.assert_allclose(shares[:, 0, 0], corner, atol=1e-5)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
    for settings, message in (
        ({"overlap": 40}, "overlap of 40 pixels: windows of 64 .* try 0 or 32 or 48 or 56"),
        ({"tile": 128}, "tuned on tiles of 64 pixels"),
    ):
        with pytest.raises(ConfigError, match=message):
            mapped(finished, place, tmp_path, **settings)


@pytest.mark.parametrize("task", ["segment", "change"])
@pytest.mark.parametrize("contract", ["fixed", "pretrain"])
def test_maps__aligned_tiles_are_the_network_on_the_samples(
    contract: str, task: str, place: Path, tmp_path: Path
) -> None:
    finished = tuned(task, place, contract=contract)
    _, shares = mapped(finished, place, tmp_path, overlap=0)
    for number, wanted in enumerate(network_says(finished)):
        row, col = (SIDE * part for part in divmod(number, ACROSS))
        part = shares[:, row : row + SIDE, col : col + SIDE]
        np.testing.assert_allclose(part, wanted, atol=1e-4)


@pytest.mark.parametrize("task", ["segment", "change"])
def test_maps__the_map_of_a_sample_scores_what_finetune_said(
    task: str, place: Path, tmp_path: Path
) -> None:
    """The whole scene is the test sample, which is covered by tiles in both ways."""
    first, second = SCENES
    images, mask = ({"images": first}, water(first))
    if task == "change":
        images, mask = ({"A": first, "B": second}, changed(first, second))
    for folder, values in (images | {"masks": mask}).items():
        for name in ("0", "1"):
            write(tmp_path / task / f"{folder}/{name}.tif", values)
    test = f"{next(iter(images))}/1.tif"
    finished = tuned(task, tmp_path, crop=SIDE, test=(test,))
    classes, _ = mapped(finished, place, tmp_path)
    matrix = confusion(mask[0].astype(np.int64), classes.astype(np.int64), classes=2)
    score = STATISTICS[finished.metric](matrix.astype(np.float64))
    assert finished.test == pytest.approx(score, abs=1e-3)
    assert finished.tuned.description.size == DOWN * SIDE


def test_maps__a_contract_that_only_samples_have_is_refused(place: Path, tmp_path: Path) -> None:
    finished = tuned("segment", place, contract="pretrain")
    with pytest.raises(ConfigError, match="as large as the samples, 64 pixels"):
        mapped(finished, place, tmp_path, tile=128)
    network = finished.tuned
    patches = network._replace(description=replace(network.description, whole=False))
    with pytest.raises(ConfigError, match=r"under contract 'pretrain'.*--contract fixed"):
        mapped(finished._replace(tuned=patches), place, tmp_path)
