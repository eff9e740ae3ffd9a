import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import DeoError
from deo.scene.stac_search import Search

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


def test_extract__items_of_a_collection(stac_item: Callable[..., Any], tmp_path: Path) -> None:
    item = stac_item(tmp_path)
    collection = {"type": "FeatureCollection", "features": [item, {**item, "id": "b"}]}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    result = deo("extract", tmp_path / "items.json", "-o", tmp_path / "out", *MICRO, "--quiet")
    assert result.exit_code == 0, result.output
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [f"{item['id']}.tif", "b.tif"]
    result = deo("extract", tmp_path / "item.json", "-o", tmp_path / "one.tif", *MICRO, "--quiet")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "out" / made[0]).read_bytes()


def test_extract__what_a_search_finds(
    stac_item: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = stac_item(tmp_path)
    asked: list[Search] = []

    def run(search: Search) -> Any:
        asked.append(search)
        return {"type": "FeatureCollection", "features": [item]}

    monkeypatch.setattr(Search, "run", run)
    arguments = ["extract", "--search", "https://x/", "--collection", "c", "--bbox", "1,2,3,4",
                 "--dates", "2020", *MICRO, "--quiet"]  # fmt: skip
    # what is found lies beside the output, and so do the files of this item
    result = deo(*arguments, "-o", tmp_path / "found.tif")
    assert result.exit_code == 0, result.output
    assert asked == [
        Search(url="https://x/", collection="c", bbox=(1.0, 2.0, 3.0, 4.0), dates="2020")
    ]
    assert f"{asked[0].file_name}  (what was found of c in 1,2,3,4 at 2020)" in result.output
    assert (tmp_path / "found.tif").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--collection", "c"], "go with --search URL"),
        (["--search", "https://x/"], "--search needs --collection"),
        (["--search", "https://x/", "--collection", "c"], "--search needs -o"),
        ([], "no scenes given"),
    ],
)
def test_extract__half_a_search_is_refused(arguments: list[str], said: str) -> None:
    result = deo("extract", *arguments)
    assert isinstance(result.exception, DeoError)
    assert said in str(result.exception)
