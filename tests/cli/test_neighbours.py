import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import ConfigError, DeoError

MICRO = ["--model", "test_deo_swin", "--untrained", "--tile", "64", "--overlap", "32"]


def deo(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_similar__maps_and_refuses(scene_file: Callable[..., Path], tmp_path: Path) -> None:
    deo("extract", scene_file(70, 60), "-o", tmp_path / "out.tif", *MICRO, "--layer", "0")
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
    for refused, said in ((["--like", "x.tif"], "goes with an index"), ([], "needs a place")):
        result = deo("similar", tmp_path / "out.tif", *refused, "-o", tmp_path / "x.tif")
        assert isinstance(result.exception, ConfigError)
        assert said in str(result.exception)


def test_index__is_searched_by_similar(scene_file: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        scene = scene_file(70, 60, name=f"{name}.tif")
        deo("extract", scene, "-o", tmp_path / f"{name}_f.tif", *MICRO, "--layer", "0")
    files = [tmp_path / "a_f.tif", tmp_path / "b_f.tif"]
    result = deo("index", *files, "-o", tmp_path / "place.index")
    assert result.exit_code == 0, result.output
    assert f"{2 * 18 * 15} vectors of 2 files" in result.output
    assert "Note: these files were made under 2 contracts" not in result.output
    place = ("--at", "15.003,45.1515")
    result = deo("similar", tmp_path / "place.index", *place, "-o", tmp_path / "near.geojson")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("1.0000  15.00")
    points = json.loads((tmp_path / "near.geojson").read_text())["features"]
    assert points[0]["properties"]["similarity"] >= points[-1]["properties"]["similarity"]
    assert {point["properties"]["file"] for point in points[:2]} == set(map(str, files))
    result = deo("similar", tmp_path / "place.index", *place, "--preview", tmp_path / "a.png")
    assert "--preview draws a map" in str(result.exception)
