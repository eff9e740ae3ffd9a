"""What is made of a job: outputs kept, made again, drawn late, or left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deo
from deo.errors import OutputError
from deo.maps.make import refuse_existing
from deo.synthetic import write_scene

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True, "tile": 64, "overlap": 32}


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Path]:
    def make() -> Path:
        write_scene(tmp_path / "scene.tif", size=100)
        return tmp_path / "scene.tif"

    return make


def contents(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {".": path.read_bytes()}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_refuse_existing__unless_it_may_be_replaced_or_kept(tmp_path: Path) -> None:
    held = tmp_path / "held.tif"
    held.touch()
    refuse_existing([tmp_path / "new.tif"], overwrite=False, resume=False)
    refuse_existing([held], overwrite=True, resume=False)
    refuse_existing([held], overwrite=False, resume=True)
    with pytest.raises(OutputError, match=r"held\.tif exists; use --overwrite"):
        refuse_existing([tmp_path / "new.tif", held], overwrite=False, resume=False)


def test_make_outputs__leaves_a_stranger_s_file_alone(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "out.tif").write_text("precious")
    with pytest.raises(OutputError, match="not made by deo"):
        deo.extract(scene(), tmp_path / "out.tif", **MICRO, resume=True)
    assert (tmp_path / "out.tif").read_text() == "precious"


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
def test_make_outputs__makes_again_what_is_damaged(
    scene: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    source, out = scene(), tmp_path / f"out{suffix}"
    deo.extract(source, out, **MICRO, chip=64)
    whole = contents(out)
    if suffix == ".zarr":
        (out / "embeddings" / "c" / "0" / "0" / "0").unlink()
    else:
        out.write_bytes(whole["."][: len(whole["."]) * 2 // 3])
    with pytest.raises(OutputError, match="--overwrite"):
        deo.extract(source, out, **MICRO, chip=64)
    deo.extract(source, out, **MICRO, chip=64, resume=True)
    assert "is damaged" in caplog.text
    assert contents(out) == whole


def test_make_outputs__makes_again_the_damaged_one_of_several_layers(
    scene: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {**MICRO, "layer": None}
    written = deo.extract(scene(), tmp_path / "out.tif", **settings)
    whole = [path.read_bytes() for path in written]
    written[1].write_bytes(whole[1][:1000])
    written[2].write_bytes(b"")
    deo.extract(tmp_path / "scene.tif", tmp_path / "out.tif", **settings, resume=True)
    assert [path.read_bytes() for path in written] == whole


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".zarr"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_make_outputs__draws_the_preview_of_a_complete_output(
    scene: Callable[..., Path], tmp_path: Path, suffix: str, dtype: str
) -> None:
    settings = {**MICRO, "chip": 64, "dtype": dtype}
    source, out, picture = scene(), tmp_path / f"out{suffix}", tmp_path / "late.png"
    deo.extract(source, out, **settings, preview=tmp_path / "early.png")
    before = contents(out)
    deo.extract(source, out, **settings, preview=picture, resume=True)
    assert contents(out) == before
    assert picture.exists()
    if dtype == "float32" and suffix != ".parquet":  # else it shows what is stored, which is less
        assert picture.read_bytes() == (tmp_path / "early.png").read_bytes()
