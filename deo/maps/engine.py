"""Many scenes, here or on an executor: each is tried, and a record says how each ended."""

import contextlib
import pickle
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from deo.errors import BusyError, DeoError
from deo.maps.worklist import Item

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before looking again at the scenes that other processes are computing."""

_MOST_UNDER_WAY = 1000
"""Scenes that an executor is given at once: enough for a large cluster, and few enough that a list
of a million does not fill its scheduler."""

_UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError)
"""What pickling raises; a unit of work raises nothing of its own."""

State = Literal["done", "skipped", "failed", "busy"]


@dataclass(frozen=True, kw_only=True)
class SceneResult:
    """How one scene of many ended.

    Args:
        source: the scene, as it was given.
        outputs: the files that hold its map; none if it failed.
        state: `done`, `skipped` (nothing was left to compute), `failed`, or `busy` (another process
            is computing it).
        seconds: spent on it by this process.
        tiles: computed, or found to be empty, by this process.
        error: the class of what went wrong, such as `SceneError`; None if nothing did.
        message: what went wrong, in words; None if nothing did.
        retriable: the same call may succeed later without a change.
    """

    source: str
    state: State
    outputs: tuple[Path, ...] = ()
    seconds: float = 0.0
    tiles: int = 0
    error: str | None = None
    message: str | None = None
    retriable: bool = False


def try_scene(
    source: str, extract: Callable[[Callable[[int, int], None]], Sequence[Path]]
) -> SceneResult:
    """Extract one scene; whatever goes wrong is told by the result.

    Args:
        extract: returns the files it wrote; it is given a function to call with the numbers of
            tiles dealt with and of tiles in all. It computed nothing if it never calls it.
    """
    began = time.monotonic()
    tiles: list[int] = []

    def result(state: State, **facts: object) -> SceneResult:
        seconds, count = time.monotonic() - began, max(tiles, default=0)
        return SceneResult(source=source, state=state, seconds=seconds, tiles=count, **facts)  # type: ignore[arg-type]

    try:
        outputs = extract(lambda done, total: tiles.append(done))
    except BusyError as error:
        return result("busy", error=type(error).__name__, message=str(error), retriable=True)
    except Exception as error:  # a fault of ours in one scene must not cost the others
        ours = isinstance(error, DeoError)
        return result(
            "failed",
            error=type(error).__name__,
            message=str(error) if ours else repr(error),
            retriable=isinstance(error, DeoError) and error.retriable,
        )
    return result("done" if tiles else "skipped", outputs=tuple(outputs))


class Ended(NamedTuple):
    """An item and how it ended."""

    item: Item
    result: SceneResult


Work = Callable[[Item], SceneResult]
"""Deals with one scene and raises nothing that concerns this scene alone."""


def run_scenes(
    items: Sequence[Item],
    work: Work,
    *,
    executor: Executor | None = None,
    busy: Callable[[str], None] | None = None,
) -> Iterator[SceneResult]:
    """Yield the result of every scene as it ends, `busy` ones last.

    What another process is computing is looked at again until that process has finished it, which
    makes it `skipped`, or has given it up, upon which it is computed here.

    Args:
        work: deals with one scene. An executor of processes must be able to pickle it.
        executor: what does the work, several scenes at once; it is neither started nor shut down
            here. None: this thread, one scene after the other.
        busy: told once of each scene that is left to another process for the time being.
    """
    due, pause = list(items), _SHORTEST_PAUSE
    first_round = True
    while due:
        waiting = []
        ended = _one_by_one(due, work) if executor is None else _spread(due, work, executor)
        with contextlib.closing(ended):
            for item, result in ended:
                if result.state != "busy":
                    yield result
                    continue
                waiting.append(item)
                if first_round and busy is not None:
                    busy(item.source)
        if waiting:
            # look again soon where something moved, ever more seldom where nothing does
            moved = len(waiting) < len(due)
            pause = _SHORTEST_PAUSE if moved else min(2 * pause, _LONGEST_PAUSE)
            time.sleep(pause)
        due, first_round = waiting, False


class _Turn(NamedTuple):
    """An item that is due; `again` once an executor has lost it."""

    item: Item
    again: bool


def _one_by_one(items: Iterable[Item], work: Work) -> Generator[Ended]:
    for item in items:
        yield Ended(item, work(item))


def _spread(items: Iterable[Item], work: Work, executor: Executor) -> Generator[Ended]:
    """Let an executor do the work, a bounded number of items at a time.

    What the executor loses, for instance because a worker was killed, is handed in once more where
    it still takes work. Closed early, this withdraws what has not begun.
    """
    due = deque(_Turn(item, again=False) for item in items)
    under_way: dict[Future[SceneResult], _Turn] = {}
    finished: queue.SimpleQueue[Future[SceneResult]] = queue.SimpleQueue()
    try:
        while due or under_way:
            while due and len(under_way) < _MOST_UNDER_WAY:
                turn = due.popleft()
                try:
                    future = executor.submit(work, turn.item)
                except (RuntimeError, *_UNPICKLABLE) as refusal:  # it is broken, or closed
                    yield Ended(turn.item, _lost(turn.item, refusal))
                    continue
                under_way[future] = turn
                future.add_done_callback(finished.put)
            if not under_way:
                continue
            future = finished.get()
            item, again = under_way.pop(future)
            error = _error_of(future)
            if error is None:
                yield Ended(item, future.result())
            elif again or isinstance(error, _UNPICKLABLE):
                yield Ended(item, _lost(item, error))
            else:
                due.append(_Turn(item, again=True))
    finally:
        for future in under_way:
            future.cancel()


def _error_of(future: "Future[SceneResult]") -> Exception | None:
    """Why a future has no result. What interrupts a process is raised."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return cancelled
    if error is None or isinstance(error, Exception):
        return error
    raise error


def _lost(item: Item, error: Exception) -> SceneResult:
    """The record of a scene whose work never came back."""
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, _UNPICKLABLE):
        message = f"the executor cannot send this scene's settings to a worker ({reason})"
    else:
        message = (
            f"the executor lost this scene ({reason}); the same call with a working executor goes "
            "on from what was finished"
        )
    return SceneResult(
        source=item.source,
        state="failed",
        error=type(error).__name__,
        message=message,
        retriable=not isinstance(error, _UNPICKLABLE),
    )
