"""Commands that compute features and compare them."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from deo.cli.options import (
    EXTRACTION,
    OVERWRITE,
    QUIET,
    RESUME,
    output,
    with_options,
)
from deo.cli.progress import tile_bar
from deo.errors import DeoError

if TYPE_CHECKING:
    from deo.maps.engine import SceneResult


@click.command()
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@output(
    "A file; for several scenes a folder or a template such as out/{name}.tif.",
    required=False,
    kind=str,
)
@with_options(*EXTRACTION)
@click.option("--preview", help="Also draw true colour beside three principal components, a PNG.")
@click.option("--stac", is_flag=True, help="Write STAC and MLM items beside the output.")
@with_options(OVERWRITE, RESUME)
@click.option("--shard", help="i/n: take every n-th scene from number i on, counted from 0.")
@QUIET
def extract(
    scenes: tuple[str, ...],
    output: str | None,
    preview: str | None,
    shard: str | None,
    stac: bool,
    overwrite: bool,
    resume: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Turn each SCENE into a georeferenced map of features.

    A SCENE is a raster file or URL, a .SAFE folder or zip, a folder of single-band files, or @LIST,
    a text file of these, or of SCENE, OUTPUT and PREVIEW with tabs between them (commas in a .csv).
    The output's suffix says what is written: .tif a cloud-optimised GeoTIFF,
    .parquet embeddings of chips, .zarr a Zarr group. The small default model comes with the
    package; the large one is `--model deo_swin_b`, whose weights are fetched once.

    Of several scenes those whose output is complete are skipped, the others are tried one by one,
    and failures are listed at the end. Several processes may work on one list at once: what one of
    them is computing the others leave to it.
    """
    from deo.api import Extraction
    from deo.maps.shard import Shard
    from deo.maps.worklist import pair, read_entries

    entries = read_entries(scenes)
    several = len(entries) > 1 or scenes[0].startswith("@")
    items = pair(entries, output, preview, several=several)
    share = Shard.parse(shard) if shard else Shard()
    if several and not shard:
        share = Shard.from_environment(os.environ)
    extraction = Extraction(**settings)
    options = {
        "stac": stac,
        "overwrite": overwrite,
        "resume": resume or (several and not overwrite),
    }
    own = share.of(items)
    if share.count > 1:
        nothing = "" if own else "; there is nothing to do for this share"
        click.echo(
            f"share {share.index}/{share.count}: {len(own)} of {len(items)} scenes "
            f"({share.origin}){nothing}"
        )
    if not several:
        for item in own:
            _one(extraction, item, quiet, options)
    elif failed := _many(extraction, own, quiet, options):
        _fail(failed)


def _one(extraction: Any, item: Any, quiet: bool, options: dict[str, Any]) -> None:
    from deo.api import extract as run

    tiles = 0
    with tile_bar(_shown(item.source), quiet=quiet) as bar:

        def show(done: int, total: int) -> None:
            nonlocal tiles
            tiles = done
            bar(done, total)

        began = time.monotonic()
        written = run(
            item.source,
            item.output,
            preview=item.preview,
            progress=show,
            extraction=extraction,
            **options,
        )
    _say_written(written, tiles=tiles, seconds=time.monotonic() - began)


def _many(
    extraction: Any, items: list[Any], quiet: bool, options: dict[str, Any]
) -> list["SceneResult"]:
    """Try every scene, show each, and return those that failed."""
    from deo.api import extract_many

    failed: list[SceneResult] = []
    done, shown = 0, None
    with ExitStack() as bars:
        bar: Callable[[int, int], None]

        def show(source: str, tiles: int, total: int) -> None:
            nonlocal shown, bar
            if source != shown:
                bar, shown = bars.enter_context(tile_bar(_shown(source), quiet=quiet)), source
            bar(tiles, total)

        def leave(source: str) -> None:
            click.echo(f"{_public(source)}  (in progress elsewhere; looked at again later)")

        results = extract_many(
            items, None, extraction=extraction, progress=show, busy=leave, **options
        )
        try:
            for result in results:
                bars.close()
                shown = None
                if result.state == "failed":
                    failed.append(result)
                    click.echo(f"failed: {_public(result.source)}: {result.message}", err=True)
                else:
                    done += 1
                    _say_written(result.outputs, tiles=result.tiles, seconds=result.seconds)
        except KeyboardInterrupt:
            click.echo(f"{done} of {len(items)} scenes done; the same command goes on", err=True)
            raise
    click.echo(f"{done} of {len(items)} scenes done", err=bool(failed))
    return failed


def _say_written(paths: Sequence[Path], *, tiles: int, seconds: float) -> None:
    for path in paths:
        click.echo(
            f"{path}  ({f'{tiles} tiles, {seconds:.1f} s' if tiles else 'complete already'})"
        )


def _public(source: str) -> str:
    """An address as it may be shown; a path as it is."""
    from deo.scene.gdal import public

    return public(source)


def _shown(source: str) -> str:
    return Path(_public(source)).name


def _fail(failed: Sequence["SceneResult"]) -> NoReturn:
    lines = [f"{len(failed)} scene{'s' * (len(failed) > 1)} failed:"]
    for result in failed:
        again = " (may be tried again as it is)" * result.retriable
        lines.append(f"  {_public(result.source)}: {result.message}{again}")
    raise DeoError("\n".join(lines), retriable=all(result.retriable for result in failed))
