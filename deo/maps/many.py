"""Many scenes through one plan: which items there are, and each of them made and told of."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from deo.errors import ConfigError
from deo.maps.engine import SceneResult, run_scenes, try_scene
from deo.maps.plan import Plan, make_map
from deo.maps.progress import Bars
from deo.maps.shard import Shard
from deo.maps.worklist import Entry, Item, pair

ScenesProgress = Callable[[str, int, int], None] | Literal[True] | None
"""What a caller asks for: to be told (scene, tiles dealt with, tiles in all), bars, or nothing."""


def make_item(
    item: Item,
    *,
    plan: Plan,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> SceneResult:
    """Make one map of many; whatever goes wrong is told by the result.

    With its settings given it can be pickled, since a pickled plan holds no weights.

    Args:
        plan, stac, overwrite, resume: as in `make_map`.
        progress: told (scene, tiles dealt with, tiles in all).
    """

    def make(count: Callable[[int, int], None]) -> list[Path]:
        def tell(done: int, total: int) -> None:
            count(done, total)
            if progress is not None:
                progress(item.source, done, total)

        return make_map(plan, item, stac=stac, overwrite=overwrite, resume=resume, progress=tell)

    return try_scene(item.source, make)


def make_many(
    plan: Plan,
    items: Iterable[Item],
    *,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    progress: ScenesProgress = None,
    busy: Callable[[str], None] | None = None,
) -> Iterator[SceneResult]:
    """Make the maps of many items, and tell of each as it ends; complete ones are skipped.

    Args:
        overwrite: compute all of them anew.
        resume: with `overwrite`, go on with what a killed run left.
        shard: the part of the items that is this process's; None: all of them.
        progress: True for a bar for each; or told (scene, tiles dealt with, tiles in all).
        busy: told once of each scene that is left to another process for the time being.
    """
    tell = Bars() if progress is True else progress
    listed = list(items)
    share = listed if shard is None else shard.of(listed)

    work = functools.partial(
        make_item,
        plan=plan,
        stac=stac,
        overwrite=overwrite,
        resume=resume or not overwrite,
        progress=tell,
    )
    results = run_scenes(share, work, busy=busy)
    return _with_bars(results, tell) if isinstance(tell, Bars) else results


def _with_bars(results: Iterator[SceneResult], bars: Bars) -> Iterator[SceneResult]:
    with bars:
        yield from results


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
