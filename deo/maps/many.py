"""Many scenes through one plan: which items there are, and each of them made and told of."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

from deo.errors import ConfigError
from deo.maps.collection import NAME, folder_of, refuse_other, write_collections
from deo.maps.engine import SceneResult, run_scenes, try_scene
from deo.maps.entries import Entry, with_items
from deo.maps.plan import Plan, make_map
from deo.maps.progress import Bars
from deo.maps.shard import Shard
from deo.maps.worklist import Item, pair
from deo.scene.stac_item import StacItem, is_stac_object, read_items

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
    executor: Executor | None = None,
    progress: ScenesProgress = None,
    busy: Callable[[str], None] | None = None,
) -> Iterator[SceneResult]:
    """Make the maps of many items, and tell of each as it ends; complete ones are skipped.

    Args:
        stac: also describe each, and all together by a collection unless `shard` leaves some out.
        overwrite: compute all of them anew.
        resume: with `overwrite`, go on with what a killed run left.
        shard: the part of the items that is this process's; None: all of them.
        executor: what does the work, see `run_scenes`; None: this thread.
        progress: True for a bar for each; or told (scene, tiles dealt with, tiles in all). With an
            executor it is told once of each scene, when that is done.
        busy: told once of each scene that is left to another process for the time being.

    Raises:
        OutputError: the collection would replace a file that is none of ours.
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
        progress=tell if executor is None else None,
    )
    results = run_scenes(share, work, executor=executor, busy=busy)
    if executor is not None and tell is not None:
        results = _told(results, tell)
    if isinstance(tell, Bars):
        results = _with_bars(results, tell)
    if not stac or not 1 < len(listed) == len(share):
        return results  # a share does not know the outputs of the others
    refuse_other(folder_of(item.output for item in listed) / NAME)
    return _collected(results)


def _collected(results: Iterator[SceneResult]) -> Iterator[SceneResult]:
    """The same results; at the end the outputs of those that are done become a collection."""
    outputs: list[Path] = []
    for result in results:
        outputs += result.outputs
        yield result
    if len(outputs) > 1:
        write_collections(outputs)


def _told(
    results: Iterator[SceneResult], tell: Callable[[str, int, int], None]
) -> Iterator[SceneResult]:
    for result in results:
        if result.state == "done":
            tell(result.source, result.tiles, result.tiles)
        yield result


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
            outputs of their own; STAC items and collections of them; `Item`s, which are taken as
            they are.
        dates: 2 where each map is of two dates: then `(first, second)`, and what follows them.

    Raises:
        ConfigError: one of them is something else.
        OutputError: two of them have one output.
    """
    given: list[Any] = []
    for each in scenes:
        given += read_items(each) if is_stac_object(each) else [each]
    stac = {each.name.replace("/", "_"): each for each in given if isinstance(each, StacItem)}
    items = [each for each in given if isinstance(each, Item)]
    if entries := [_entry(each, dates) for each in given if not isinstance(each, Item)]:
        paired = pair(
            with_items(entries),
            None if output is None else os.fspath(output),
            None if preview is None else os.fspath(preview),
            probabilities=None if probabilities is None else os.fspath(probabilities),
            several=True,
        )
        items += [each._replace(source=stac.get(each.source, each.source)) for each in paired]
    return items


def _entry(scene: Any, dates: int) -> Entry:
    if isinstance(scene, StacItem):
        return Entry(scene.name.replace("/", "_"))
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
