"""Commands that compute features and compare them."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from deo.cli.options import (
    EXTRACTION,
    OVERWRITE,
    PATH,
    PREVIEW,
    QUIET,
    RESUME,
    Numbers,
    output,
    with_options,
)
from deo.cli.progress import tile_bar
from deo.errors import BusyError, ConfigError, DeoError

_PAUSES = (0.1, 30.0)
"""Seconds, the shortest and the longest, before looking again at what another process computes."""


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
    from deo.maps.worklist import Shard, pair, read_entries

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
    elif failures := _many(extraction, own, quiet, options):
        _fail(failures)


def _one(extraction: Any, item: Any, quiet: bool, options: dict[str, bool]) -> None:
    from deo.api import extract as run

    tiles = 0
    with tile_bar(Path(item.source).name, quiet=quiet) as bar:

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
    for path in written:
        done = f"{tiles} tiles, {time.monotonic() - began:.1f} s" if tiles else "complete already"
        click.echo(f"{path}  ({done})")


class _Failure(NamedTuple):
    source: str
    reason: str
    retriable: bool


def _many(
    extraction: Any, items: list[Any], quiet: bool, options: dict[str, bool]
) -> list[_Failure]:
    """Try every scene, at the end again those that another process was computing.

    Returns:
        Those that failed. A scene that another process finishes is done, and one that it gives up
        is taken up here.
    """
    failures: list[_Failure] = []
    done, pause, due = 0, _PAUSES[0], items
    try:
        while due:
            busy = []
            for item in due:
                try:
                    _one(extraction, item, quiet, options)
                    done += 1
                except BusyError:
                    if due is items:
                        click.echo(f"{item.source}  (in progress elsewhere; looked at again later)")
                    busy.append(item)
                except Exception as error:  # a fault of ours with one scene must not cost others
                    failures.append(_failure(item.source, error))
                    click.echo(f"failed: {item.source}: {failures[-1].reason}", err=True)
            if busy:
                pause = _PAUSES[0] if len(busy) < len(due) else min(2 * pause, _PAUSES[1])
                time.sleep(pause)
            due = busy
    except KeyboardInterrupt:
        click.echo(f"{done} of {len(items)} scenes done; the same command goes on", err=True)
        raise
    click.echo(f"{done} of {len(items)} scenes done", err=bool(failures))
    return failures


def _failure(source: str, error: Exception) -> _Failure:
    if isinstance(error, DeoError):
        return _Failure(source, str(error), error.retriable)
    return _Failure(source, repr(error), False)


def _fail(failures: list[_Failure]) -> NoReturn:
    lines = [f"{len(failures)} scene{'s' * (len(failures) > 1)} failed:"]
    for source, reason, retriable in failures:
        lines.append(f"  {source}: {reason}{' (may be tried again as it is)' * retriable}")
    raise DeoError("\n".join(lines), retriable=all(each.retriable for each in failures))


@click.command()
@click.argument("features", type=PATH)
@click.option(
    "--at",
    "place",
    type=Numbers(),
    required=True,
    metavar="LON,LAT",
    help="The place to compare with, in degrees; longitudes from -180 to 180 or from 0 to 360.",
)
@with_options(output("The map to write, a GeoTIFF."), PREVIEW, OVERWRITE)
def similar(
    features: Path,
    place: tuple[float, ...],
    output: Path,
    preview: Path | None,
    overwrite: bool,
) -> None:
    """Map how alike every place of FEATURES is to one of them.

    FEATURES is a GeoTIFF that `deo extract` wrote. The map holds the cosine of the features of each
    place and those of the place at --at, from -1 to 1.
    """
    from deo.errors import OutputError
    from deo.maps.similar import map_similarity
    from deo.scene.earth import Place

    if len(place) != 2:
        raise ConfigError(f"--at {place} is no place; give longitude,latitude in degrees")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; use --overwrite to replace it")
    share = map_similarity(features, Place(*place), output, preview=preview)
    click.echo(f"{output}  ({share:.1%} of the map has a similarity above 0.9)")
