from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import DeoError

MICRO = ["--model", "test_deo_swin", "--untrained", "--tile", "64", "--overlap", "32"]


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
