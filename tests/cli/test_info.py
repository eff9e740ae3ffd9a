import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from deo.bands import MODEL_BANDS, BandSet
from deo.cli.info import info
from deo.contracts import Contract, fit_contract
from deo.errors import BandError, DeoError
from deo.sensors.known.sentinel2 import SENTINEL2


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    array = np.random.default_rng(0).integers(1, 4000, (13, 40, 60)).astype("uint16")
    array[:, :10] = 0
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=13, height=40, width=60, nodata=0,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(array)
        file.descriptions = [band.name for band in SENTINEL2]
        file.update_tags(**{"s2:processing_baseline": "05.10"})
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(info, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_info__says_everything_that_was_understood(scene: Path) -> None:
    text = run(scene)
    for part in (
        "scene.tif",
        "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12 (named by descriptions)",
        "ten bands: all there; red, green, blue: all there",
        "60 x 40 pixels (width x height) of 10 x 10, EPSG:32633",
        "upper left corner 500000, 4000000",
        "75.0% of a sample; known by: nodata 0",
        "digital number = stored x 1 - 1000",
        "tag s2:processing_baseline: processing baseline 05.10",
        "fixed on B04,B03,B02,B05",
        "B04 B03 B02 divided by 5000, the same for every scene",
    ):
        assert part in text
    assert "notes" not in text


def test_info__json_holds_the_same_and_a_usable_contract(scene: Path) -> None:
    record = json.loads(run(scene, "--json"))
    assert (record["height"], record["width"], record["crs"]) == (40, 60, "EPSG:32633")
    assert record["missing_for_multispectral"] == []
    assert record["radiometry"]["offset"] == [-1000] * 13
    assert record["valid_share"] == 0.75
    contract = Contract.from_record(record["contract"])
    assert contract == fit_contract("fixed", bands=MODEL_BANDS)
    record = json.loads(run(scene, "--json", "--contract", "scene"))
    contract = Contract.from_record(record["contract"])
    assert contract.rgb_maximum is not None
    assert 2900 < contract.rgb_maximum < 3000


def test_info__names_what_a_model_would_miss(scene: Path) -> None:
    text = run(scene, "--bands", "B02,B08")
    assert "ten bands: missing B04 B03 B05 B06 B07 B8A B11 B12" in text
    assert "red, green, blue: missing B04 B03" in text
    assert "fixed on B02,B08" in text


def test_info__options_change_the_decision(scene: Path) -> None:
    text = run(scene, "--offset", "0", "--contract", "pretrain", "--resolution", "20")
    assert "stored x 1 + 0" in text
    assert "--offset 0 given" in text
    assert "divided by their joint maximum" in text
    assert "30 x 20 pixels" in text
    assert "resampled (average)" in text


def test_info__notes_come_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "B04.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=1,
        height=4,
        width=4,
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as f:
        f.write(np.ones((1, 4, 4), "uint16"))  # fmt: skip
    text = run(path)
    assert text.count("nothing says whether its numbers carry the offset") == 1
    assert capfd.readouterr().err == ""


def test_info__errors_are_ours(tmp_path: Path, scene: Path) -> None:
    with pytest.raises(DeoError, match="does not exist"):
        run(tmp_path / "gone.tif")
    with pytest.raises(BandError, match="'B99'"):
        run(scene, "--bands", "B99")


def test_info__real_scenes(shared: Path) -> None:
    assert "RGB" not in run(shared / "data/sentinel2/mumbai_1_20151130.tif")
    product = next((shared / "data/safe").glob("*.SAFE"))
    record = json.loads(run(product, "--json"))
    assert BandSet(record["bands"])
    assert record["kernels"]["B05"] == "bilinear"


def test_info__shows_the_bands_that_extract_would_take(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=4, height=40, width=60,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(np.full((4, 40, 60), 500, "uint16"))
        file.descriptions = ("B04", "B03", "B02", None)
    text = run(path)
    assert "and 1 without a known name. To go on with fewer, name them: --bands" in text
    assert "fixed on B04,B03,B02\n" in run(path, "--bands", "B04,B03,B02")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B04", "B03", "B02", "B08")
    text = run(path)
    assert "fixed on B04,B03,B02,B08" in text
    assert "name them: --bands B04,B03,B02,B08" in text
