import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import DataError

pytest.importorskip("sklearn")
pytest.importorskip("geopandas")

MICRO = ["--model", "test_deo_swin", "--untrained", "--tile", "64", "--overlap", "32"]


def deo(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_classify__tells_areas_and_accuracy(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    deo("extract", scene_file(70, 60), "-o", tmp_path / "f.tif", *MICRO, "--layer", "0")
    csv = tmp_path / "l.csv"
    rows = [
        f"{15.0002 + 0.0005 * at},{45.1528 - 0.0005 * at},{('<b>a', 'b')[at % 2]}"
        for at in range(8)
    ]
    csv.write_text("\n".join(["lon,lat,class", *rows, "0,0,b"]))
    arguments = ["classify", tmp_path / "f.tif", "--labels", csv, "--quiet"]
    result = deo(*arguments, "-o", tmp_path / "map.tif", "--save", tmp_path / "c.safetensors")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == str(tmp_path / "map.tif")
    assert lines[1].split() == ["class", "area", "km2", "share", "examples", "recall", "precision"]
    assert [line.split()[0] for line in lines[2:4]] == ["<b>a", "b"]
    assert [line.split()[3] for line in lines[2:4]] == ["4", "4"]
    assert lines[4].startswith("accuracy ")
    assert "1 label lies outside the map" in result.stderr
    assert "blocks only" in result.stderr
    again = deo("classify", tmp_path / "f.tif", "--classifier", tmp_path / "c.safetensors",
                "-o", tmp_path / "again.tif", "--quiet")  # fmt: skip
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "map.tif").read_bytes()
    assert "accuracy" not in again.output
    (tmp_path / "empty.geojson").touch()
    refused = deo("classify", tmp_path / "f.tif", "--labels", tmp_path / "empty.geojson",
                  "-o", tmp_path / "x.tif")  # fmt: skip
    assert isinstance(refused.exception, DataError)
    assert json.dumps(str(refused.exception)).count("\\n") == 0
