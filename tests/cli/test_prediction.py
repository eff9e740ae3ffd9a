from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner, Result

from deo import MODEL_BANDS
from deo.cli import cli
from deo.contracts import fit_contract
from deo.errors import ConfigError, DeoError
from deo.maps.class_map import NODATA
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import build_network
from deo.training.tasks.tuned import Description, save_tuned

Scenes = Callable[[str], Path]


@pytest.fixture
def tuned(tmp_path: Path) -> Callable[[str], Path]:
    """Folders with networks of random weights, as `deo finetune` leaves them."""

    def make(task: str) -> Path:
        torch.manual_seed(0)
        backbone = open_backbone("test_deo_swin", bands=MODEL_BANDS, untrained=True).model
        network = build_network(task, backbone, classes=2, head="linear", width=8)
        description = Description(
            task=task,
            backbone="test_deo_swin",
            weights="untrained",
            bands=MODEL_BANDS.names,
            classes=("land", "water"),
            head="linear",
            width=8,
            contract=fit_contract("s2", bands=MODEL_BANDS).record(),
            dataset="synthetic",
            size=384,
            whole=False,
        )
        (tmp_path / task).mkdir()
        save_tuned(network, description, tmp_path / task / "best.safetensors")
        return tmp_path / task

    return make


def deo(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["predict", *map(str, arguments), "--quiet"])


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        values: np.ndarray = file.read()
    return values


def test_predict__one_scene(scene: Scenes, tuned: Callable[[str], Path], tmp_path: Path) -> None:
    pictures = ("--probabilities", tmp_path / "p.tif", "--preview", tmp_path / "map.png")
    result = deo(tuned("segment"), scene("a.tif"), "-o", tmp_path / "map.tif", *pictures)
    assert result.exit_code == 0, result.output
    assert "map.tif  (1 tiles" in result.output
    classes, shares = read(tmp_path / "map.tif")[0], read(tmp_path / "p.tif")
    assert np.array_equal(shares.argmax(0)[classes != NODATA], classes[classes != NODATA])
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_predict__a_list_goes_on_and_names_its_failures(
    scene: Scenes, tuned: Callable[[str], Path], tmp_path: Path
) -> None:
    network, listed = tuned("segment"), tmp_path / "list.txt"
    listed.write_text(f"{scene('a.tif')}\n{tmp_path / 'missing.tif'}\n{scene('b.tif')}\tz\n")
    command = (network, f"@{listed}", "-o", tmp_path / "maps", "--preview", f"{tmp_path}/seen/")
    result = deo(*command)
    assert isinstance(result.exception, DeoError)
    assert result.exit_code == 1
    assert "1 scene failed" in str(result.exception)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.tif", "z.tif"]
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["a.png", "b.png"]
    assert deo(*command).output.count("complete already") == 2


def test_predict__two_dates_for_each_map(
    scene: Scenes, tuned: Callable[[str], Path], tmp_path: Path
) -> None:
    network, first, second = tuned("change"), scene("first.tif"), scene("second.tif")
    assert deo(network, first, second, "-o", tmp_path / "one.tif").exit_code == 0
    listed = tmp_path / "pairs.csv"
    listed.write_text(f"scene,second,output\n{first},{second},listed\n")
    assert deo(network, f"@{listed}", "-o", tmp_path / "maps").exit_code == 0
    assert np.array_equal(read(tmp_path / "maps" / "listed.tif"), read(tmp_path / "one.tif"))
    alone = deo(network, first, "-o", tmp_path / "no.tif")
    assert isinstance(alone.exception, ConfigError)
    assert "has no second date" in str(alone.exception)
    three = deo(tuned("segment"), first, second, "-o", tmp_path / "no.tif")
    assert "several scenes cannot all be written to" in str(three.exception)
