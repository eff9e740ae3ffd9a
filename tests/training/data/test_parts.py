"""Parts of a preparation: made again where they are damaged, kept where they are whole."""

from pathlib import Path
from typing import Any

import pytest

from deo.errors import OutputError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


def test_prepare__other_settings_in_the_same_folder_are_refused(tmp_path: Path, make: Any) -> None:
    make.scenes(tmp_path / "in")
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(OutputError, match=r"stride: 8 -> 16"):
        prepare(make.scene_plan(tmp_path / "in", stride=16), tmp_path / "out")


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"shard": null}'])
def test_prepare__a_damaged_part_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    make.scenes(tmp_path / "in", count=1)
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    part, shard = tmp_path / "out/parts/00001.json", tmp_path / "out/shard-00001.bin"
    before, whole = shard.read_bytes(), part.read_text()
    part.write_text(damage)
    shard.write_bytes(bytes(len(before)))
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    assert "00001.json is damaged" in caplog.text
    assert (shard.read_bytes(), part.read_text()) == (before, whole)


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_prepare__under_a_damaged_plan_everything_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    make.scenes(tmp_path / "in", count=1)
    prepare(make.scene_plan(tmp_path / "in"), tmp_path / "out")
    plan = tmp_path / "out/plan.json"
    whole = plan.read_text()
    plan.write_text(damage)
    prepare(make.scene_plan(tmp_path / "in", stride=8), tmp_path / "out")
    assert "plan.json is damaged" in caplog.text
    assert plan.read_text() == whole
    Shards(tmp_path / "out").verify()


def test_prepare__what_killed_runs_left_is_removed_and_nothing_else(
    tmp_path: Path, make: Any
) -> None:
    make.scenes(tmp_path / "in", count=1)
    out, mark = tmp_path / "out", "0123cdef.new"
    prepare(make.scene_plan(tmp_path / "in"), out)
    ours = [f".shard-00000.bin.{mark}", f".index.json.{mark}", f"parts/.00000.json.{mark}"]
    theirs = [".shard-00000.bin.bak", ".notes", f".other.{mark}"]
    for name in (*ours, *theirs):
        (out / name).touch()
    prepare(make.scene_plan(tmp_path / "in"), out)
    assert [name for name in (*ours, *theirs) if (out / name).exists()] == theirs
