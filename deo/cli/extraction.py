"""Commands that compute features and compare them."""

from pathlib import Path
from typing import Any

import click

from deo.cli.options import (
    EXTRACTION,
    OVERWRITE,
    PATH,
    PREVIEW,
    WRITING,
    Numbers,
    output,
    with_options,
)
from deo.errors import ConfigError


@click.command()
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@output(
    "A file; for several scenes a folder or a template such as out/{name}.tif.",
    required=False,
    kind=str,
)
@with_options(*EXTRACTION)
@click.option("--preview", help="Also draw true colour beside three principal components, a PNG.")
@with_options(*WRITING)
def extract(
    scenes: tuple[str, ...],
    output: str | None,
    preview: str | None,
    stac: bool,
    overwrite: bool,
    resume: bool,
    shard: str | None,
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
    from deo.cli.scenes import Options, make_scenes

    make_scenes(
        Extraction(**settings),
        scenes,
        output,
        Options(stac=stac, overwrite=overwrite, resume=resume, quiet=quiet, shard=shard),
        preview=preview,
    )


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
    """Map how similar each place in FEATURES is to one chosen place.

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
