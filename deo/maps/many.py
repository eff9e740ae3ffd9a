"""Many scenes through one plan: which items there are, and each of them made and told of."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deo.errors import ConfigError
from deo.maps.engine import SceneResult, run_scenes, try_scene
from deo.maps.plan import Plan, make_map
from deo.maps.worklist import Entry, Item, Shard, pair


@dataclass(frozen=True, kw_only=True)
class Task:
    """One item of many as a piece of work: settings and paths, never weights.

    Args:
        plan: how its map is made.
        item: the scenes, and what is written.
        stac, overwrite, resume: as in `make_map`.
    """

    plan: Plan
    item: Item
    stac: bool = False
    overwrite: bool = False
    resume: bool = False


def run_task(task: Task, *, progress: Callable[[str, int, int], None] | None = None) -> SceneResult:
    """Do one piece of work; whatever goes wrong is told by the result."""
    source = task.item.source

    def make(count: Callable[[int, int], None]) -> list[Path]:
        def tell(done: int, total: int) -> None:
            count(done, total)
            if progress is not None:
                progress(source, done, total)

        return make_map(
            task.plan,
            task.item,
            stac=task.stac,
            overwrite=task.overwrite,
            resume=task.resume,
            progress=tell,
        )

    return try_scene(source, make)


def make_many(
    plan: Plan,
    items: Iterable[Item],
    *,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    busy: Callable[[str], None] | None = None,
) -> Iterator[SceneResult]:
    """Make the maps of many items, and tell of each as it ends; complete ones are skipped.

    Args:
        overwrite: compute all of them anew.
        resume: with `overwrite`, go on with what a killed run left.
        shard: the part of the items that is this process's; None: all of them.
        progress: told (scene, tiles dealt with, tiles in all).
        busy: told once of each scene that is left to another process for the time being.
    """
    listed = list(items)
    share = listed if shard is None else shard.of(listed)

    def work(item: Item) -> SceneResult:
        task = Task(
            plan=plan,
            item=item,
            stac=stac,
            overwrite=overwrite,
            resume=resume or not overwrite,
        )
        return run_task(task, progress=progress)

    return run_scenes(share, work, busy=busy)


def items_of(
    scenes: Iterable[Any],
    output: str | os.PathLike[str] | None,
    preview: str | os.PathLike[str] | None = None,
    *,
    probabilities: str | os.PathLike[str] | None = None,
    dates: int = 1,
) -> list[Item]:
    """What is to be made of scenes that are given in Python; see `pair`.

    Args:
        scenes: paths or addresses; `(scene, output)` or `(scene, output, preview)` for those with
            outputs of their own; `Item`s, which are taken as they are.
        dates: 2 where each map is of two dates: then `(first, second)`, and what follows them.

    Raises:
        ConfigError: one of them is something else.
        OutputError: two of them have one output.
    """
    given = list(scenes)
    items = [each for each in given if isinstance(each, Item)]
    if entries := [_entry(each, dates) for each in given if not isinstance(each, Item)]:
        items += pair(
            entries,
            None if output is None else os.fspath(output),
            None if preview is None else os.fspath(preview),
            probabilities=None if probabilities is None else os.fspath(probabilities),
            several=True,
        )
    return items


def _entry(scene: Any, dates: int) -> Entry:
    parts = scene if isinstance(scene, tuple) else (scene,)
    if not dates <= len(parts) <= dates + 2:
        wanted = "a scene" if dates == 1 else "two scenes"
        raise ConfigError(
            f"{scene!r} is not {wanted}, with an output and a preview after it if need be"
        )
    try:
        return Entry.of(["" if part is None else os.fspath(part) for part in parts], dates=dates)
    except TypeError as error:
        raise ConfigError(
            f"{parts[0]!r} is neither a path nor an address; give arrays to deo.extract or "
            "deo.predict one by one"
        ) from error
