"""The commands evaluate, finetune and predict, from files to files."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner, Result
from rasterio.transform import from_origin
from safetensors.torch import load

from deo.cli import cli
from deo.cli.downstream import finetune
from deo.errors import (
    BandError,
    BusyError,
    ConfigError,
    DataError,
    DeoError,
    OutputError,
    WeightsError,
)
from deo.files.lock import claim
from deo.models.weights import load_backbone
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.run import checkpoint
from deo.training.tasks.benchmarks.eurosat import EUROSAT_BANDS, EUROSAT_CLASSES
from deo.training.tasks.tuneconfig import TuneConfig
from deo.training.tasks.tuned import BEST

PRODUCT = [band.name for band in SENTINEL2]
MODEL = ["--model", "test_deo_swin", "--untrained", "--device", "cpu"]


def write(path: Path, values: np.ndarray, names: list[str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        crs="EPSG:32630",
        transform=from_origin(5e5, 4e6, 10, 10),
    ) as out:
        out.write(values)
        if names:
            out.descriptions = names


def noise(seed: int, level: float, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 50, (13, size, size)).astype(np.uint16)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EuroSAT-MS with two tiles per class, which differ in level."""
    root = tmp_path_factory.mktemp("eurosat")
    for number, name in enumerate(EUROSAT_CLASSES):
        for tile in (1, 2):
            write(root / name / f"{name}_{tile}.tif", noise(tile, 800 + 300 * number))
    return root


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one's own: three images with masks."""
    root = tmp_path_factory.mktemp("own")
    for number in range(3):
        mask = np.zeros((1, 32, 32), np.uint8)
        mask[:, 8 * number : 8 * number + 16] = 1
        write(
            root / "images" / f"{number}.tif", noise(number, 900) + np.uint16(2000) * mask, PRODUCT
        )
        write(root / "masks" / f"{number}.tif", mask)
    return root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def error(result: Result) -> DeoError:
    assert isinstance(result.exception, DeoError), result.output
    return result.exception


def test_evaluate__writes_json_and_prints_a_table(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    result = run(
        "evaluate", "knn", "--dataset", "eurosat-ms", "--data", tiles, *MODEL, "--k", 1,
        "--metric", "cosine", "--layers", "all", "--seeds", "0,1", "--json", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "| eurosat-ms | knn | test_deo_swin | untrained | accuracy |" in result.output
    record = json.loads(out.read_text())
    assert record["settings"] == {
        "k": 1,
        "metric": "cosine",
        "temperature": None,
        "split": "leave one out",
    }
    assert record["samples"] == {"all": 20}
    assert record["model"]["layers"] == [0, 1, 2, 3]
    assert len(record["per_seed"]) == 2
    low, high = record["interval"]
    assert low <= record["value"] <= high
    assert len(record["predictions"]) == 20
    compared = run("compare", out, out)
    assert compared.exit_code == 0, compared.output
    assert "accuracy on the same 20 units (tile)" in compared.output
    assert "ahead by 0.0 (95 %: 0.0 to 0.0)" in compared.output


def test_evaluate__says_what_is_wrong_in_one_message(tiles: Path, tmp_path: Path) -> None:
    base = ("evaluate", "knn", "--data", tiles)
    found = error(run(*base, "--dataset", "eurosat"))
    assert isinstance(found, DataError)
    assert "known are eurosat-ms" in str(found)
    found = error(run(*base, "--dataset", "eurosat-ms", "--stored-bands", ",".join(PRODUCT)))
    assert isinstance(found, BandError)
    assert str(found).startswith("wrong band order declared: eurosat-ms stores B01")
    found = error(run("evaluate", "knn", "--dataset", "eurosat-ms", "--data", tmp_path, *MODEL))
    assert "eurosat-ms is not complete: 10 of 10 class folders missing" in str(found)
    found = error(run(*base, "--dataset", "eurosat-ms", "--json", tmp_path / "no" / "r.json"))
    assert isinstance(found, OutputError)
    found = error(run(*base, "--dataset", "eurosat-ms", "--seeds", "a"))
    assert isinstance(found, ConfigError)
    assert EUROSAT_BANDS.names[-1] == "B8A"


def test_finetune__defaults_are_those_of_the_configuration() -> None:
    needed = ["--task", "segment", "--dataset", "folder", "--data", "d", "-o", "run"]
    given = finetune.make_context("finetune", needed).params
    fields = TuneConfig.__dataclass_fields__.keys()
    assert TuneConfig(**{name: given[name] for name in fields}) == TuneConfig()


TUNE = ["--width", 8, "--epochs", 2, "--batch-size", 2, "--rate", 3e-3, "--no-baselines"]


def test_finetune_predict__segment_own_folder(
    masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    command = (
        "finetune", "--task", "segment", "--dataset", "folder", "--data", masks,
        "--classes", "ground,field", *MODEL, *TUNE, "--valid", 0.3, "--patience", 5, "-o", folder,
    )  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "epoch 2: loss" in result.stderr
    assert "deo predict" in result.stdout
    assert "| macro_iou, valid part | score (95 %) |" in result.stdout
    assert (folder / "best.safetensors").is_file()
    assert "use --resume to go on" in str(error(run(*command)))
    kept = (folder / "best.safetensors").read_bytes()
    again = run(*command, "--resume")  # nothing is left to do
    assert again.exit_code == 0, again.output
    assert "loss" not in again.stderr
    assert "validation" in again.stdout
    assert (folder / "best.safetensors").read_bytes() == kept
    with pytest.raises(WeightsError, match=r"tuned for a task.*deo predict"):
        load_backbone(MODEL[1], weights=folder / "best.safetensors")
    other = str(error(run(*command, "--contract", "s2", "--bands", "B02,B03", "--resume")))
    assert "contract.name: 'fixed' -> 's2'" in other
    assert "-> ['B02', 'B03']" in other
    other = str(error(run(*command, "--model", "test_deo_vit", "--resume")))
    assert "model: 'test_deo_swin' -> 'test_deo_vit'" in other
    scene = tmp_path / "scene.tif"
    write(scene, noise(9, 1500, 80), PRODUCT)
    said: list[Any] = []

    @contextmanager
    def bar(name: str, *, quiet: bool | None) -> Iterator[Any]:
        said.append((name, quiet))
        yield lambda done, total: said.append((done, total))

    monkeypatch.setattr("deo.cli.scenes.tile_bar", bar)
    result = run(
        "predict", folder, scene, "-o", tmp_path / "map.tif",
        "--probabilities", tmp_path / "p.tif", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (said[0], said[-1]) == (("scene.tif", None), (9, 9))  # tiles of the training size
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(tmp_path / "p.tif") as shares:
        labels, probabilities = found.read(1), shares.read()
        assert found.tags(1) == {"CLASS_0": "ground", "CLASS_1": "field"}
        assert shares.descriptions == ("ground", "field")
    assert np.array_equal(labels, probabilities.argmax(0))


def test_finetune__classify_and_change_folders(tmp_path: Path) -> None:
    for number in range(2):
        for name in ("dry", "wet"):
            path = tmp_path / "tiles" / "train" / name / f"{number}.tif"
            write(path, noise(number, 900 if name == "dry" else 3000), PRODUCT)
        for part in ("A", "B"):
            write(tmp_path / "pairs" / part / f"{number}.tif", noise(number, 900), PRODUCT)
        write(tmp_path / "pairs" / "masks" / f"{number}.tif", np.zeros((1, 32, 32), np.uint8))
    for task, data in (("classify", "tiles"), ("change", "pairs")):
        result = run(
            "finetune", "--task", task, "--dataset", "folder", "--data", tmp_path / data,
            *MODEL, *TUNE, "--valid", 0, "-o", tmp_path / task,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert (tmp_path / task / "best.safetensors").is_file()


def test_finetune__a_folder_is_one_runs_and_an_earlier_run_is_kept(
    masks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    command = (
        "finetune", "--task", "segment", "--dataset", "folder", "--classes", "ground,field",
        *MODEL, *TUNE, "--valid", 0.3, "-o", folder,
    )  # fmt: skip
    assert run(*command, "--data", masks).exit_code == 0
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    with claim(folder):
        refused = run(*command, "--data", masks, "--overwrite", "--seed", 1)
    assert isinstance(error(refused), BusyError)
    wrongs: list[tuple[object, ...]] = [
        ("--data", tmp_path / "none"),
        ("--data", masks, "--bands", "B99"),
        ("--data", masks, "--fraction", 2),
        ("--data", masks, "--valid", 1),
    ]
    for wrong in wrongs:
        assert run(*command, *wrong, "--overwrite").exit_code != 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept

    other = tmp_path / "other"  # the same names, one pixel of another
    shutil.copytree(masks, other)
    assert run(*command, "--data", other, "--resume").exit_code == 0
    with rasterio.open(other / "images/1.tif", "r+") as image:
        values = image.read()
        values[:, 0, 0] += 1
        image.write(values)
    said = str(error(run(*command, "--data", other, "--resume")))
    assert "images/1.tif (other content)" in said
    assert "images/2.tif" not in said

    last = checkpoint.saved(folder)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    assert run(*command, "--data", masks, "--resume").exit_code == 0
    assert f"{last} is cut short" in caplog.text
    assert (folder / "log.jsonl").read_bytes() == kept["log.jsonl"]
    # written anew, and safetensors orders the metadata of a file at random
    again, before = load((folder / BEST).read_bytes()), load(kept[BEST])
    assert again.keys() == before.keys()
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_finetune__folder_problems_are_named(masks: Path, tmp_path: Path) -> None:
    base = ("finetune", "--task", "segment", "--dataset", "folder", *MODEL, *TUNE)
    out = ("-o", tmp_path / "run")
    found = error(run(*base, "--data", masks, *out))
    assert "name the classes" in str(found)
    found = error(run(*base, "--data", tmp_path, "--classes", "a,b", *out))
    assert "no image images/*.tif" in str(found)
    write(tmp_path / "own/images/a.tif", noise(0, 900))
    found = error(run(*base, "--data", tmp_path / "own", "--classes", "a,b", *out))
    assert "does not name its 13 bands" in str(found)
    wrong = ("--stored-bands", ",".join(PRODUCT))
    found = error(run(*base, "--data", tmp_path / "own", "--classes", "a,b", *wrong, *out))
    assert "masks/a.tif is missing" in str(found)
    reverse = ("--stored-bands", ",".join(reversed(PRODUCT)))
    found = error(run(*base, "--data", masks, "--classes", "a,b", *reverse, *out))
    assert "wrong band order" in str(found)
    found = error(run(*base[:2], "change", *base[3:], "--dataset", "eurosat-ms", "--data", masks,
                      *out))  # fmt: skip
    assert "eurosat-ms is made for classify, not for change" in str(found)
