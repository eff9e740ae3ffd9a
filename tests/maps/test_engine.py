"""Many scenes: how each ended, and what happens to those that another process is computing."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deo.errors import BusyError, SceneError
from deo.maps import engine
from deo.maps.engine import SceneResult, run_scenes, try_scene
from deo.maps.worklist import Item

Count = Callable[[int, int], None]


def failing(error: BaseException) -> Callable[[Count], Sequence[Path]]:
    def extract(count: Count) -> Sequence[Path]:
        count(1, 4)
        raise error

    return extract


@pytest.mark.parametrize(
    ("error", "state", "message", "retriable"),
    [
        (SceneError("no raster"), "failed", "no raster", False),
        (SceneError("reset", retriable=True), "failed", "reset", True),
        (KeyError("a fault of ours"), "failed", "KeyError('a fault of ours')", False),
        (BusyError("another run"), "busy", "another run", True),
    ],
)
def test_try_scene__an_error_becomes_a_record(
    error: Exception, state: str, message: str, retriable: bool
) -> None:
    result = try_scene("a.tif", failing(error))
    assert (result.source, result.state, result.tiles, result.outputs) == ("a.tif", state, 1, ())
    assert (result.error, result.message) == (type(error).__name__, message)
    assert result.retriable is retriable
    assert pickle.loads(pickle.dumps(result)) == result


def test_try_scene__lets_an_interruption_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        try_scene("a.tif", failing(KeyboardInterrupt()))


def test_try_scene__is_skipped_where_nothing_was_computed() -> None:
    written = [Path("a.tif")]
    skipped = try_scene("a", lambda count: written)
    assert (skipped.state, skipped.outputs, skipped.tiles) == ("skipped", (Path("a.tif"),), 0)

    def extract(count: Count) -> list[Path]:
        for done in range(4):
            count(done, 3)
        return written

    done = try_scene("a", extract)
    assert (done.state, done.outputs, done.tiles) == ("done", (Path("a.tif"),), 3)


def test_run_scenes__comes_back_to_what_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(engine.time, "sleep", pauses.append)
    tries = {"a": 4, "b": 1, "c": 2}

    def work(item: Item) -> SceneResult:
        tries[item.source] -= 1
        return SceneResult(source=item.source, state="busy" if tries[item.source] else "done")

    busy: list[str] = []
    items = [Item(name, Path(name), None) for name in tries]
    ended = [result.source for result in run_scenes(items, work, busy=busy.append)]
    assert ended == ["b", "c", "a"]
    assert busy == ["a", "c"], "each is told of once"
    assert pauses == [0.1, 0.1, 0.2], "soon again after progress, later where there is none"
