"""Many scenes, one after the other: each is tried, and a record says how each ended."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deo.errors import BusyError, DeoError
from deo.maps.worklist import Item

log = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before looking again at the scenes that other processes are computing."""

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


def run_scenes(
    items: Sequence[Item],
    work: Callable[[Item], SceneResult],
    *,
    busy: Callable[[str], None] | None = None,
) -> Iterator[SceneResult]:
    """Yield the result of every scene as it ends, `busy` ones last.

    What another process is computing is looked at again until that process has finished it, which
    makes it `skipped`, or has given it up, upon which it is computed here.

    Args:
        work: deals with one scene and raises nothing that concerns this scene alone.
        busy: told once of each scene that is left to another process for the time being.
    """
    due, pause = list(items), _SHORTEST_PAUSE
    first_round = True
    while due:
        waiting = []
        for item in due:
            result = work(item)
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
