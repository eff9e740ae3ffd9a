"""Commands that compute features and compare them."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from deo.bands import BandSet
from deo.errors import BusyError, ConfigError, DeoError

_PAUSES = (0.1, 30.0)
"""Seconds, the shortest and the longest, before looking again at what another process computes."""
_CONTRACTS = ("scene", "pretrain", "s2", "stats")


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r} is no list of numbers separated by commas") from error


def _layer(text: str | None) -> int | None:
    if text == "all":
        return None
    try:
        return -1 if text is None else int(text)
    except ValueError as error:
        raise ConfigError(f"layer {text!r} is neither a number nor all; 0 is the finest") from error


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("-o", "--output", help="File; folder or {name} template for many."),
    click.option("--model", default="deo_swin_n", show_default=True, help="See `deo models`."),
    click.option("--weights", type=click.Path(path_type=Path), help="Weights of that model."),
    click.option("--untrained", is_flag=True, help="Random weights, for trials."),
    click.option("--layer", help="0 is the finest; `all` writes one file each. [default: last]"),
    click.option("--bands", help="Bands to use; all of the file's, in order, if it names none."),
    click.option(
        "--contract",
        type=click.Choice(_CONTRACTS),
        help="[default: what the weights ask for, else scene]",
    ),
    click.option("--mean", help="Per band, with --contract stats."),
    click.option("--std", help="Per band, with --contract stats."),
    click.option("--tile", type=int, help="Side in pixels. [default: near 384]"),
    click.option("--overlap", type=int, help="Pixels shared by tiles. [default: a quarter]"),
    click.option("--batch-size", type=int, help="Tiles at once. [default: 32 on CUDA, else 4]"),
    click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32"),
    click.option("--device", help="cpu, cuda, cuda:1, ... [default: cuda if there is one]"),
    click.option("--dtype", type=click.Choice(["float32", "float16", "int8"]), default="float32"),
    click.option("--scale", type=float, help="Digital number = stored x SCALE + OFFSET, whatever"),
    click.option("--offset", type=float, help="the metadata say (reflectance x 10000, no offset)."),
    click.option("--resolution", type=float, help="Pixel size in units of the CRS."),
    click.option("--chip", type=int, default=224, show_default=True, help="Chips of .parquet."),
    click.option("--preview", help="PNG: true colour beside three principal components."),
    click.option("--stac", is_flag=True, help="Write STAC and MLM items beside the output."),
    click.option("--overwrite", is_flag=True, help="Replace outputs that are there."),
    click.option("--resume", is_flag=True, help="Go on with what a killed run left."),
    click.option("--shard", help="i/n: every n-th scene from number i on (from 0)."),
    click.option("--quiet", is_flag=True, help="No progress bar."),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@_with_options
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
    extraction = Extraction(
        **{
            **settings,
            "bands": BandSet.parse(settings["bands"]) if settings["bands"] else None,
            "layer": _layer(settings["layer"]),
            "mean": _numbers(settings["mean"]),
            "std": _numbers(settings["std"]),
        }
    )
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
    from tqdm import tqdm

    from deo.api import extract as run

    tiles = 0
    with tqdm(desc=Path(item.source).name, unit="tile", disable=quiet or None) as bar:

        def show(done: int, total: int) -> None:
            nonlocal tiles
            bar.total = total
            bar.update(done - tiles)
            tiles = done

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
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "--at", "place", required=True, metavar="LON,LAT", help="In degrees, -180..180 or 0..360."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .tif.")
@click.option("--preview", type=click.Path(path_type=Path), help="A .png.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it is there.")
def similar(
    features: Path, place: str, output: Path, preview: Path | None, overwrite: bool
) -> None:
    """Map how alike every place of FEATURES is to one of them.

    FEATURES is a GeoTIFF that `deo extract` wrote. The map holds the cosine of the features of each
    place and those of the place at --at, from -1 to 1.
    """
    from deo.errors import OutputError
    from deo.maps.similar import map_similarity
    from deo.scene.earth import Place

    numbers = _numbers(place) or ()
    if len(numbers) != 2:
        raise ConfigError(f"{place!r} is no place; give longitude,latitude in degrees")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists; use --overwrite to replace it")
    share = map_similarity(features, Place(*numbers), output, preview=preview)
    click.echo(f"{output}  ({share:.1%} of the map has a similarity above 0.9)")
