"""One scene or many through a plan, with what is shown of it: for `extract` and `predict`."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import click

from deo.errors import ConfigError, DeoError
from deo.files.publish import make_folder
from deo.maps.engine import SceneResult
from deo.maps.entries import read_entries
from deo.maps.many import make_many
from deo.maps.plan import Plan, make_map
from deo.maps.progress import Bars, tile_bar
from deo.maps.shard import Shard
from deo.maps.worklist import Item, pair
from deo.scene.gdal import public
from deo.scene.stac_search import Search


class Options(NamedTuple):
    """What the commands say of the writing, whatever is written."""

    stac: bool
    overwrite: bool
    resume: bool
    quiet: bool
    shard: str | None


def found_scenes(
    search: str | None,
    collection: str | None,
    bbox: tuple[float, ...] | None,
    dates: str | None,
    output: str | None,
) -> list[str]:
    """The file that keeps what a search found, beside the outputs; none without a search.

    Raises:
        ConfigError: what is given does not make a search.
        SceneError: nothing is found, or the API cannot be asked.
    """
    if search is None:
        if collection is not None or bbox is not None or dates is not None:
            raise ConfigError("--collection, --bbox and --dates go with --search URL")
        return []
    if collection is None or output is None:
        lacking = "-o" if collection is not None else "--collection"
        raise ConfigError(f"--search needs {lacking}")
    place = Path(output.replace("{name}", "x"))
    folder = place.parent if place.suffix and not output.endswith("/") else place
    asked = Search(url=search, collection=collection, bbox=bbox, dates=dates)
    path = asked.save(make_folder(folder))
    click.echo(f"{path}  (what was found of {asked})")
    return [str(path)]


def make_scenes(
    plan: Plan,
    scenes: Sequence[str],
    output: str | None,
    options: Options,
    *,
    preview: str | None = None,
    probabilities: str | None = None,
    dates: int = 1,
) -> None:
    """Make the map of one scene, or those of many, and print each file that was written.

    Args:
        scenes: as on the command line: paths, addresses and `@LIST`s.
        output, preview, probabilities: a file for one scene, else a folder or a template.
        dates: of which one map is made.

    Raises:
        DeoError: the one scene failed, or the last line lists the many that did.
    """
    entries = read_entries(scenes, dates=dates)
    several = len(entries) > 1 or scenes[0].startswith("@")
    items = pair(entries, output, preview, probabilities=probabilities, several=several)
    share = Shard.parse(options.shard) if options.shard else Shard()
    if several and not options.shard:
        share = Shard.from_environment(os.environ)
    chosen = share.of(items)
    if share.count > 1:
        nothing = "" if chosen else "; there is nothing to do for this share"
        click.echo(
            f"share {share.index}/{share.count}: {len(chosen)} of {len(items)} scenes "
            f"({share.origin}){nothing}"
        )
    if not several:
        for item in chosen:
            _make_one(plan, item, options)
    elif failed := _make_many(plan, items, share, options):
        _fail(failed)


def _make_one(plan: Plan, item: Item, options: Options) -> None:
    tiles = 0
    with tile_bar(_name(item.source), quiet=options.quiet or None) as bar:

        def show(done: int, total: int) -> None:
            nonlocal tiles
            tiles = done
            bar(done, total)

        began = time.monotonic()
        written = make_map(
            plan,
            item,
            stac=options.stac,
            overwrite=options.overwrite,
            resume=options.resume,
            progress=show,
        )
    _say_written(written, tiles=tiles, seconds=time.monotonic() - began)


def _make_many(
    plan: Plan, items: Sequence[Item], share: Shard, options: Options
) -> list[SceneResult]:
    """Try every scene of the share, show each, and return those that failed."""
    failed: list[SceneResult] = []
    done, count = 0, len(share.of(items))

    def leave(source: str) -> None:
        click.echo(f"{public(source)}  (in progress elsewhere; looked at again later)")

    with Bars(quiet=options.quiet or None, name_of=_name) as bars:
        results = make_many(
            plan,
            items,
            stac=options.stac,
            overwrite=options.overwrite,
            resume=options.resume,
            shard=share,
            progress=bars,
            busy=leave,
        )
        try:
            for result in results:
                bars.close()
                if result.state == "failed":
                    failed.append(result)
                    click.echo(f"failed: {public(result.source)}: {result.message}", err=True)
                    continue
                done += 1
                _say_written(result.outputs, tiles=result.tiles, seconds=result.seconds)
        except KeyboardInterrupt:
            click.echo(f"{done} of {count} scenes done; the same command goes on", err=True)
            raise
    click.echo(f"{done} of {count} scenes done", err=bool(failed))
    return failed


def _say_written(paths: Sequence[Path], *, tiles: int, seconds: float) -> None:
    for path in paths:
        click.echo(
            f"{path}  ({f'{tiles} tiles, {seconds:.1f} s' if tiles else 'complete already'})"
        )


def _name(source: str) -> str:
    """The last part of a path, or of an address without its signature."""
    return Path(public(source)).name


def _fail(failed: Sequence[SceneResult]) -> NoReturn:
    lines = [f"{len(failed)} scene{'s' * (len(failed) > 1)} failed:"]
    for result in failed:
        again = " (may be tried again as it is)" * result.retriable
        lines.append(f"  {public(result.source)}: {result.message}{again}")
    raise DeoError("\n".join(lines), retriable=all(result.retriable for result in failed))
