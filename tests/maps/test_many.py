import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.api import Extraction
from deo.errors import BusyError, ConfigError, OutputError
from deo.maps import many, plan
from deo.maps.many import items_of, make_item, make_many
from deo.maps.plan import Plan
from deo.maps.shard import Shard
from deo.maps.worklist import Item

PLAN = Extraction(model="test_deo_swin", untrained=True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each call of `make_map` was told; a scene whose name is an error's raises it."""
    calls = list[dict[str, Any]]()

    def make_map(plan: Plan, item: Item, **options: Any) -> list[Path]:
        progress = options.pop("progress")
        calls.append({"source": item.source, **options})
        if item.source == "busy":
            raise BusyError("elsewhere")
        progress(1, 2)
        progress(2, 2)
        return [item.output]

    monkeypatch.setattr(many, "make_map", make_map)
    return calls


def test_make_many__takes_up_what_was_begun_unless_told_to_begin_anew(
    made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[list[Path]] = []
    monkeypatch.setattr(many, "write_collections", collected.append)
    items = [Item("a", Path("a.tif")), Item("b", Path("b.tif"))]
    told = list[tuple[str, int, int]]()
    results = list(make_many(PLAN, items, stac=True, progress=lambda *facts: told.append(facts)))
    assert [(result.state, result.tiles) for result in results] == [("done", 2), ("done", 2)]
    assert told == [("a", 1, 2), ("a", 2, 2), ("b", 1, 2), ("b", 2, 2)]
    assert made[0] == {"source": "a", "stac": True, "overwrite": False, "resume": True}
    assert collected == [[Path("a.tif"), Path("b.tif")]]
    list(make_many(PLAN, items, stac=True, shard=Shard(index=0, count=2)))
    assert len(collected) == 1, "a share is no collection"
    list(make_many(PLAN, items[:1], overwrite=True))
    assert made[-1] == {"source": "a", "stac": False, "overwrite": True, "resume": False}


def test_make_item__is_told_by_its_result(made: list[dict[str, Any]]) -> None:
    assert make_item(Item("busy", Path("a.tif")), plan=PLAN).state == "busy"
    assert make_item(Item("a", Path("a.tif")), plan=PLAN).outputs == (Path("a.tif"),)
    assert pickle.loads(pickle.dumps(PLAN)) == PLAN


def test_make_many__shows_bars(
    made: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    list(make_many(PLAN, [Item("a", Path("a.tif"))], progress=True))
    assert "a: 100%" in capsys.readouterr().err


def test_items_of__paths_tuples_and_items(tmp_path: Path) -> None:
    own = Item("c", tmp_path / "c.tif")
    scenes = [Path("a.tif"), ("b.tif", tmp_path / "else.tif", None), own]
    first, second, third = items_of([own, *scenes[:2]], tmp_path)
    assert first is own
    assert second == Item("a.tif", tmp_path / "a.tif")
    assert third == Item("b.tif", tmp_path / "else.tif")


def test_items_of__two_dates_and_probabilities(tmp_path: Path) -> None:
    shares = tmp_path / "shares" / "{name}_p.tif"
    (item,) = items_of([("a.tif", "b.tif")], tmp_path, probabilities=shares, dates=2)
    assert item.sources == ("a.tif", "b.tif")
    assert item.output == tmp_path / "a.tif"
    assert item.probabilities == tmp_path / "shares" / "a_p.tif"
    with pytest.raises(ConfigError, match=r"'a.tif' is not two scenes"):
        items_of(["a.tif"], tmp_path, dates=2)
    with pytest.raises(OutputError, match="would be written over"):
        items_of([("a.tif", tmp_path / "b.tif", tmp_path / "b.tif")], None, dates=2)


def test_items_of__refuses_arrays(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a path nor an address"):
        items_of([np.zeros((10, 8, 8))], tmp_path)


def test_make_many__on_threads_tells_once_of_each_scene_when_it_is_done(
    made: list[dict[str, Any]],
) -> None:
    told = list[tuple[str, int, int]]()
    items = [Item(name, Path(f"{name}.tif")) for name in "abc"]
    with ThreadPoolExecutor(2) as executor:
        results = list(
            make_many(PLAN, items, executor=executor, progress=lambda *facts: told.append(facts))
        )
        assert executor.submit(len, "ab").result() == 2, "it is left running"
    assert sorted(result.source for result in results) == ["a", "b", "c"]
    assert sorted(told) == [("a", 2, 2), ("b", 2, 2), ("c", 2, 2)]


@pytest.fixture
def listed(scene_file: Callable[..., Path]) -> list[Path]:
    return [scene_file(100, 90 + 10 * index, name=f"{index}.tif") for index in range(3)]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_make_many__processes_write_the_same_bytes_and_load_the_model_once(
    listed: list[Path], tmp_path: Path, start: str
) -> None:
    plan._only.cache_clear()  # a forked worker inherits it
    (tmp_path / "serial").mkdir()
    list(make_many(PLAN, items_of(listed, tmp_path / "serial")))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(start)) as executor:
        items = items_of([*listed, tmp_path / "missing.tif"], tmp_path / "spread")
        results = {Path(r.source).stem: r for r in make_many(PLAN, items, executor=executor)}
        plans = "__import__('deo.maps.plan').maps.plan._only.cache_info().misses"
        assert executor.submit(eval, plans).result() == 1, "four scenes came with one plan"
        again = [r.state for r in make_many(PLAN, items[:3], executor=executor)]
    assert {name: result.state for name, result in results.items()} == {
        "0": "done", "1": "done", "2": "done", "missing": "failed"
    }  # fmt: skip
    assert again == ["skipped"] * 3
    assert outputs(tmp_path / "spread") == outputs(tmp_path / "serial")


@pytest.mark.slow
def test_make_many__a_pool_whose_worker_dies_leaves_failures_that_may_be_tried_again(
    listed: list[Path], tmp_path: Path
) -> None:
    items = items_of(listed, tmp_path / "out")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(os._exit, 9)
        results = list(make_many(PLAN, items, executor=executor))
    assert [(result.state, result.retriable) for result in results] == [("failed", True)] * 3
    assert {result.error for result in results} == {"BrokenProcessPool"}
    assert outputs(tmp_path / "out") == {}
    assert [result.state for result in make_many(PLAN, items)] == ["done"] * 3
