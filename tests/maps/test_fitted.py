"""Contracts from files: saved ones, and those of features that were extracted before."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner

import deo
from deo.bands import MODEL_BANDS, BandSet
from deo.cli import cli
from deo.contracts import Contract
from deo.errors import ConfigError, OutputError
from deo.maps.fitted import load_contract, parse_contract

SETTINGS = {"model": "test_deo_swin", "untrained": True, "device": "cpu", "tile": 64}


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_load_contract__that_of_features(
    suffix: str, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = (scene_file(size, size, name=f"{size}.tif") for size in (64, 96))
    features = tmp_path / f"first_features{suffix}"
    deo.extract(first, features, contract="scene", **SETTINGS)
    contract = load_contract(features)
    with deo.open_scene(first) as scene:
        assert contract == deo.fit_contract("scene", bands=MODEL_BANDS, scene=scene)
    if suffix != ".tif":
        return
    contract.save(tmp_path / "fitted.json")
    for number, said in enumerate((contract, tmp_path / "fitted.json", str(features))):
        target = tmp_path / f"{number}.tif"
        deo.extract(second, target, contract=said, **SETTINGS)
        with rasterio.open(target) as file:
            assert Contract.from_record(json.loads(file.tags()["DEO_CONTRACT"])) == contract


def test_parse_contract__names_and_what_is_none(tmp_path: Path) -> None:
    assert parse_contract("s2") == "s2"
    assert parse_contract(None) is None
    (tmp_path / "broken.json").write_text("[]")
    (tmp_path / "other.tif").touch()
    for said, message in (
        ("fixd", r"no contract 'fixd'; did you mean 'fixed'\?"),
        (tmp_path / "none.json", "none.json holds no contract that can be read"),
        (tmp_path / "broken.json", "not what Contract.save writes"),
        (tmp_path / "none.tif", "there is no file"),
        (tmp_path / "other.tif", "it is no file of features"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_contract(said)


def test_extraction__takes_a_contract_for_its_bands() -> None:
    contract = deo.fit_contract("fixed", bands=MODEL_BANDS)
    plan = deo.Extraction(contract=contract, **SETTINGS)  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(plan)).contract == contract
    few = contract.select(BandSet("B08,B04"))
    assert few == deo.fit_contract("fixed", bands=BandSet("B08,B04"))
    assert contract.select(BandSet("B08,B11")).rgb_maximum is None
    with pytest.raises(ConfigError, match="no numbers for B02"):
        few.select(BandSet("B04,B02"))


def test_save__says_where_it_cannot(tmp_path: Path) -> None:
    contract = deo.fit_contract("s2", bands=MODEL_BANDS)
    with pytest.raises(ConfigError, match=r"give a name with \.json"):
        contract.save(tmp_path / "contract.tif")
    with pytest.raises(OutputError):
        contract.save(tmp_path / "none" / "contract.json")
    contract.save(tmp_path / "contract.json")
    assert Contract.load(tmp_path / "contract.json") == contract


def test_fitted_over__is_one_contract_between_those_of_the_scenes(
    scene_file: Callable[..., Path],
) -> None:
    paths = [scene_file(64, 64, name="dark.tif"), scene_file(64, 64, name="bright.tif")]
    with rasterio.open(paths[1], "r+") as file:
        file.write(file.read() * 3)
    plan = deo.Extraction(**SETTINGS).fitted_over(paths)  # type: ignore[arg-type]
    assert isinstance(plan.contract, Contract)
    alone = []
    for path in paths:
        with deo.open_scene(path) as scene:
            alone.append(deo.fit_contract("scene", bands=MODEL_BANDS, scene=scene).rgb_maximum)
    assert alone[0] < plan.contract.rgb_maximum <= alone[1]  # type: ignore[operator]
    with pytest.raises(ConfigError, match="of the kind 'scene', got s2"):
        deo.Extraction(contract="s2").fitted_over(paths)
    with pytest.raises(ConfigError, match="there is no scene"):
        deo.Extraction().fitted_over([])


def test_extract__says_what_cannot_be_compared(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [str(scene_file(64, 64, name=f"{name}.tif")) for name in "ab"]
    base = ["extract", *paths, "--model", "test_deo_swin", "--untrained", "--quiet", "-o"]
    one, other = (str(tmp_path / number / "{name}.tif") for number in "12")
    result = CliRunner().invoke(cli, [*base, one, "--contract", "scene"])
    assert "cannot be compared" in result.stderr
    over = CliRunner().invoke(cli, [*base, other, "--contract-over", "all"])
    assert over.exit_code == 0, over.output
    assert "cannot be compared" not in over.stderr
    first, second = (load_contract(tmp_path / f"2/{name}.tif") for name in "ab")
    assert first == second
    assert first.name == "scene"
