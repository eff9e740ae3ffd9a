"""Commands that compute features and compare them."""

from typing import Any

import click

from deo.cli.options import (
    EXTRACTION,
    SEARCH,
    WRITING,
    output,
    with_options,
)


@click.command()
@click.argument("scenes", nargs=-1, metavar="SCENE...")
@output(
    "A file; for several scenes a folder or a template such as out/{name}.tif.",
    required=False,
    kind=str,
)
@with_options(*SEARCH, *EXTRACTION)
@click.option(
    "--contract-over",
    type=click.Choice(["all"]),
    help="Fit one contract `scene` over all of the scenes, so that their features can be compared.",
)
@click.option("--preview", help="Also draw true colour beside three principal components, a PNG.")
@with_options(*WRITING)
def extract(
    scenes: tuple[str, ...],
    output: str | None,
    search: str | None,
    collection: str | None,
    bbox: tuple[float, ...] | None,
    dates: str | None,
    preview: str | None,
    stac: bool,
    overwrite: bool,
    resume: bool,
    shard: str | None,
    quiet: bool,
    contract_over: str | None,
    **settings: Any,
) -> None:
    """Turn each SCENE into a georeferenced map of features.

    A SCENE is a raster file or URL, a .SAFE folder or zip, a folder of single-band files, a STAC
    item or collection of items (.json, or stac-geoparquet's .parquet), or @LIST, a text file of
    these, or of SCENE, OUTPUT and PREVIEW with tabs between them (commas in a .csv). --search finds
    further ones in a STAC API, whose items are kept in a file beside the outputs.

    The output's suffix says what is written: .tif a cloud-optimised GeoTIFF, .parquet embeddings of
    chips, .zarr a Zarr group. The small default model comes with the package; the large one is
    `--model deo_swin_b`, whose weights are fetched once.

    Of several scenes those whose output is complete are skipped, the others are tried one by one,
    and failures are listed at the end. Several processes may work on one list at once: what one of
    them is computing the others leave to it.
    """
    from deo.api import Extraction
    from deo.cli.scenes import Options, found_scenes, make_scenes
    from deo.maps.entries import read_entries

    scenes = (*scenes, *found_scenes(search, collection, bbox, dates, output))
    plan = Extraction(**settings)
    entries = read_entries(scenes)
    if contract_over is not None:
        plan = plan.fitted_over(entry.source for entry in entries)
    elif len(entries) > 1 and plan.contract in ("pretrain", "scene"):
        click.echo(
            f"note: contract {plan.contract} is another one for every scene, so that their "
            "features cannot be compared; --contract fixed and --contract-over all are the same "
            "for all",
            err=True,
        )
    make_scenes(
        plan,
        scenes,
        output,
        Options(stac=stac, overwrite=overwrite, resume=resume, quiet=quiet, shard=shard),
        preview=preview,
    )
