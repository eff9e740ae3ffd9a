"""Many scenes: how each ended, and what happens to those that another process is computing."""

import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def listed(names: str) -> list[Item]:
    return [Item(name, Path(name), None) for name in names]


def done(item: Item) -> SceneResult:
    return SceneResult(source=item.source, state="done")


class Scripted(Executor):
    """Runs each call at once, or ends it with the next of the errors that it was given for it.

    An error under the name `submit` breaks the executor for good.
    """

    def __init__(self, **errors: list[BaseException]) -> None:
        self.errors = errors
        self.calls: list[str] = []

    def submit(self, work: Any, item: Item, /) -> "Future[Any]":  # type: ignore[override]
        self.calls.append(item.source)
        future: Future[Any] = Future()
        if errors := self.errors.get(item.source):
            if isinstance(errors[0], RuntimeError) and str(errors[0]) == "submit":
                raise errors[0]
            future.set_exception(errors.pop(0))
        else:
            future.set_result(work(item))
        return future

    def shutdown(self, *_: Any, **__: Any) -> None:
        raise AssertionError("the executor is its owner's")


def test_run_scenes__an_executor_does_each_scene_once() -> None:
    executor = Scripted()
    ended = list(run_scenes(listed("abcde"), done, executor=executor))
    assert sorted(result.source for result in ended) == sorted(executor.calls) == list("abcde")


def test_run_scenes__threads_work_side_by_side_and_no_more_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_MOST_UNDER_WAY", 2)
    both = threading.Barrier(2, timeout=10)
    under_way: set[str] = set()
    most: list[int] = []

    def work(item: Item) -> SceneResult:
        under_way.add(item.source)
        both.wait()  # passes only when two scenes are at work
        most.append(len(under_way))
        both.wait()
        under_way.discard(item.source)
        return done(item)

    with ThreadPoolExecutor(4) as executor:
        ended = [result.source for result in run_scenes(listed("abcd"), work, executor=executor)]
    assert sorted(ended) == list("abcd")
    assert max(most) == 2


def test_run_scenes__what_an_executor_loses_is_handed_in_once_more() -> None:
    executor = Scripted(a=[OSError("worker killed")], b=[OSError("one"), OSError("two")])
    ended = {result.source: result for result in run_scenes(listed("abc"), done, executor=executor)}
    assert executor.calls == ["a", "b", "c", "a", "b"]
    assert [ended[name].state for name in "abc"] == ["done", "failed", "done"]
    assert ended["b"].error == "OSError"
    assert ended["b"].retriable
    assert "the executor lost this scene (OSError: two)" in str(ended["b"].message)


def test_run_scenes__a_broken_executor_leaves_a_record_of_every_scene() -> None:
    broken = [BrokenExecutor("submit")]
    executor = Scripted(b=broken, c=broken, a=[BrokenExecutor("killed"), *broken])
    ended = list(run_scenes(listed("abc"), done, executor=executor))
    assert sorted(result.source for result in ended) == list("abc")
    assert {(result.state, result.retriable, result.error) for result in ended} == {
        ("failed", True, "BrokenExecutor")
    }


def test_run_scenes__settings_that_cannot_be_sent_are_no_loss_of_a_worker() -> None:
    executor = Scripted(a=[TypeError("cannot pickle '_thread.lock' object")])
    (result,) = run_scenes(listed("a"), done, executor=executor)
    assert executor.calls == ["a"]
    assert not result.retriable
    assert "cannot send this scene's settings" in str(result.message)


def test_run_scenes__an_interrupted_worker_interrupts() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(run_scenes(listed("a"), done, executor=Scripted(a=[KeyboardInterrupt()])))


def test_run_scenes__what_has_not_begun_is_withdrawn_when_nobody_listens() -> None:
    class Waiting(Scripted):
        def __init__(self) -> None:
            super().__init__()
            self.futures: list[Future[Any]] = []

        def submit(self, work: Any, item: Item, /) -> "Future[Any]":  # type: ignore[override]
            future: Future[Any] = super().submit(work, item) if item.source == "a" else Future()
            self.futures.append(future)
            return future

    executor = Waiting()
    results = run_scenes(listed("abc"), done, executor=executor)
    assert next(results).source == "a"
    results.close()  # type: ignore[attr-defined]
    assert [future.cancelled() for future in executor.futures] == [False, True, True]


def test_run_scenes__an_executor_comes_back_to_what_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine.time, "sleep", lambda seconds: None)
    tries = {"a": 2, "b": 0}

    def work(item: Item) -> SceneResult:
        tries[item.source] -= 1
        return SceneResult(source=item.source, state="busy" if tries[item.source] > 0 else "done")

    busy: list[str] = []
    ended = run_scenes(listed("ab"), work, executor=Scripted(), busy=busy.append)
    assert [result.source for result in ended] == ["b", "a"]
    assert busy == ["a"]
