"""Contracts from files: saved ones, and those of features that were extracted before."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio

import deo
from deo.bands import MODEL_BANDS, BandSet
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
