import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deo.cli import cli
from deo.errors import DeoError, SceneError
from deo.maps import many
from deo.maps.plan import Plan
from deo.maps.rows import Shape
from deo.maps.spool import Spool
from deo.maps.worklist import Item

MICRO = ["--model", "test_deo_swin", "--untrained", "--tile", "64", "--overlap", "32"]


def deo(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_extract__many_scenes_with_failures_listed(
    scene: Callable[[str], Path], tmp_path: Path
) -> None:
    good, other = scene("good.tif"), scene("other.tif")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(good.read_bytes()[:3000])
    listed = tmp_path / "list.txt"
    listed.write_text(f"{good}\n{broken}\n{other}\n{tmp_path / 'missing.tif'}\n")
    arguments = ("extract", f"@{listed}", "-o", tmp_path / "out", *MICRO, "--quiet")
    result = deo(*arguments)
    assert isinstance(result.exception, DeoError)
    assert "2 scenes failed" in str(result.exception)
    assert "broken.tif" in str(result.exception)
    assert "missing.tif" in str(result.exception)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.tif", "other.tif"]
    before = (tmp_path / "out" / "good.tif").stat().st_mtime_ns
    again = deo(*arguments)
    assert "complete already" in again.output
    assert (tmp_path / "out" / "good.tif").stat().st_mtime_ns == before


def test_extract__a_fault_with_one_scene_does_not_cost_the_others(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scene("first.tif"), scene("second.tif")
    run = many.make_map

    def fail_on_the_first(plan: Plan, item: Item, **kwargs: Any) -> list[Path]:
        if item.source == str(first):
            raise KeyError("a fault of ours")
        return run(plan, item, **kwargs)

    monkeypatch.setattr(many, "make_map", fail_on_the_first)
    result = deo("extract", first, second, "-o", tmp_path / "out", *MICRO, "--quiet")
    assert isinstance(result.exception, DeoError)
    assert "KeyError('a fault of ours')" in str(result.exception)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["second.tif"]


def test_extract__shards_by_option_and_environment(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [scene(f"{number}.tif") for number in range(3)]
    result = deo("extract", *scenes, "-o", tmp_path / "out", *MICRO, "--shard", "1/2")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.tif"]
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    result = deo("extract", *scenes, "-o", tmp_path / "slurm", *MICRO)
    assert "share 2/3: 1 of 3 scenes" in result.output
    assert [path.name for path in (tmp_path / "slurm").iterdir()] == ["2.tif"]


def test_extract__a_share_that_is_empty_is_told(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = deo("extract", scene("a.tif"), "-o", tmp_path / "out.tif", *MICRO, "--shard", "1/2")
    assert result.exit_code == 0, result.output
    assert "share 1/2: 0 of 1 scenes (--shard); there is nothing to do" in result.output
    assert not (tmp_path / "out.tif").exists()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = deo("extract", scene("a.tif"), scene("b.tif"), "-o", tmp_path / "out", *MICRO)
    assert "2 of 2 scenes done" in result.output


def test_extract__a_list_with_outputs_of_its_own(
    scene: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = [("scene", "output", "preview"), (scene("a.tif"), "x.tif", tmp_path / "x.png")]
    rows += [(scene("b.tif"), tmp_path / "else" / "y.tif", ""), (scene("a.tif"), "z", "")]
    listed = tmp_path / "list.csv"
    listed.write_text("".join(f"{','.join(map(str, row))}\n" for row in rows))
    result = deo("extract", f"@{listed}", "-o", tmp_path / "out", *MICRO, "--quiet")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x.tif", "z.tif"]
    assert (tmp_path / "else" / "y.tif").exists()
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize("finished", [True, False])
def test_extract__a_scene_in_progress_elsewhere_is_left_for_the_end(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    first, second, out = scene("first.tif"), scene("second.tif"), tmp_path / "out"
    reference = tmp_path / "reference.tif"
    assert deo("extract", first, "-o", reference, *MICRO, "--quiet").exit_code == 0
    out.mkdir()
    partial = out / "first.tif.partial"
    elsewhere = Spool(partial, job={}, shapes=[Shape(1, 1, 1)], resume=False)

    def wait(seconds: float) -> None:
        """While this process waits, the other finishes the scene, or dies."""
        assert (out / "second.tif").exists()
        if finished:
            shutil.copy(reference, out / "first.tif")
            elsewhere.remove()
        else:
            shutil.rmtree(partial)
            elsewhere.close()

    monkeypatch.setattr(time, "sleep", wait)
    result = deo("extract", first, second, "-o", out, *MICRO, "--quiet")
    assert result.exit_code == 0, result.output
    assert "first.tif  (in progress elsewhere" in result.output
    assert "2 of 2 scenes done" in result.output
    assert sorted(path.name for path in out.iterdir()) == ["first.tif", "second.tif"]
    assert (out / "first.tif").read_bytes() == reference.read_bytes()


def test_extract__says_which_failures_may_be_tried_again(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = {
        "a.tif": SceneError("connection reset", retriable=True),
        "b.tif": SceneError("no raster"),
    }

    def fail(plan: Plan, item: Item, **kwargs: Any) -> list[Path]:
        raise faults[Path(item.source).name]

    monkeypatch.setattr(many, "make_map", fail)
    result = deo("extract", *map(scene, faults), "-o", tmp_path / "out", *MICRO, "--quiet")
    assert isinstance(result.exception, DeoError)
    assert not result.exception.retriable
    assert "a.tif: connection reset (may be tried again as it is)" in str(result.exception)
    assert str(result.exception).endswith("b.tif: no raster")
    del faults["b.tif"]
    result = deo("extract", scene("a.tif"), f"@{_list(tmp_path)}", "-o", tmp_path / "out", *MICRO)
    assert isinstance(result.exception, DeoError)
    assert result.exception.retriable


def _list(folder: Path) -> Path:
    listed = folder / "list.txt"
    listed.write_text(f"{folder}/a.tif\n")
    return listed


def test_extract__an_interruption_says_how_far_it_got(
    scene: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sources = many.make_map, [scene("a.tif"), scene("b.tif")]

    def interrupt(plan: Plan, item: Item, **kwargs: Any) -> list[Path]:
        if item.source == str(sources[1]):
            raise KeyboardInterrupt
        return run(plan, item, **kwargs)

    monkeypatch.setattr(many, "make_map", interrupt)
    result = deo("extract", *sources, "-o", tmp_path / "out", *MICRO, "--quiet")
    assert result.exit_code == 1
    assert "1 of 2 scenes done; the same command goes on" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.tif"]
