"""Commands that compare features."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deo.cli.options import OVERWRITE, PATH, PREVIEW, Numbers, output, with_options
from deo.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from deo.maps.neighbours import Neighbour

_DIGITS = 7  # of degrees: a centimetre


@click.command()
@click.argument("features", nargs=-1, required=True, type=PATH, metavar="FEATURES...")
@output("The index to write, a folder.")
def index(features: tuple[Path, ...], output: Path) -> None:
    """Index the vectors in FEATURES, for `deo similar`.

    FEATURES are files that `deo extract` wrote with one model, layer and set of components: every
    cell of a .tif or .zarr becomes a vector of the index, and every chip of a .parquet.
    """
    from deo.index import build

    built = build(features, output)
    click.echo(
        f"{output}  ({built.vectors} vectors of {built.files} files; searches find "
        f"{built.recall:.1%} of the ten nearest)"
    )
    if built.contracts > 1:
        click.echo(
            f"Note: these files were made under {built.contracts} contracts, so that their "
            "features can be compared only roughly.",
            err=True,
        )


@click.command()
@click.argument("features", type=PATH)
@click.option(
    "--at",
    "place",
    type=Numbers(),
    metavar="LON,LAT",
    help="The place to compare with, in degrees; longitudes from -180 to 180 or from 0 to 360.",
)
@click.option(
    "--like",
    type=PATH,
    help="With an index: an image to compare with, or features of one, in place of --at.",
)
@click.option(
    "--count", type=int, default=10, show_default=True, help="With an index: how many to find."
)
@with_options(
    output(
        "The map to write, a GeoTIFF; with an index a .geojson of what is found.", required=False
    ),
    PREVIEW,
    OVERWRITE,
)
def similar(
    features: Path,
    place: tuple[float, ...] | None,
    like: Path | None,
    count: int,
    output: Path | None,
    preview: Path | None,
    overwrite: bool,
) -> None:
    """Map how similar each place in FEATURES is to one chosen place.

    FEATURES is a GeoTIFF that `deo extract` wrote. The map holds the cosine of the features of each
    place and those of the place at --at, from -1 to 1.

    FEATURES may also be an index that `deo index` wrote. Then the places in any of its files are
    listed that resemble the one at --at, or the image --like, most.
    """
    if place is not None and len(place) != 2:
        raise ConfigError(f"--at {place} is no place; give longitude,latitude in degrees")
    if output is not None and output.exists() and not overwrite:
        raise OutputError(f"{output} exists; use --overwrite to replace it")
    if features.is_dir():
        if preview is not None:
            raise ConfigError("--preview draws a map, and an index gives none; leave it out")
        _list(features, place, like, count, output)
    else:
        if like is not None:
            raise ConfigError("--like goes with an index, see `deo index`; a map needs --at")
        _map(features, place, output, preview)


def _map(
    features: Path, place: tuple[float, ...] | None, output: Path | None, preview: Path | None
) -> None:
    from deo.maps.similar import map_similarity
    from deo.scene.earth import Place

    if place is None or output is None:
        raise ConfigError(
            "a map of similarity needs a place (--at LON,LAT) and a file (-o MAP.tif)"
        )
    share = map_similarity(features, Place(*place), output, preview=preview)
    click.echo(f"{output}  ({share:.1%} of the map has a similarity above 0.9)")


def _list(
    features: Path,
    place: tuple[float, ...] | None,
    like: Path | None,
    count: int,
    output: Path | None,
) -> None:
    from deo.files.publish import write_file
    from deo.index import similar

    at = None if place is None else (place[0], place[1])
    near = similar(features, at=at, like=like, count=count)
    for one in near:
        longitude, latitude = one.place
        click.echo(f"{one.similarity:.4f}  {longitude:.5f},{latitude:.5f}  {one.file}")
    if output is not None:
        write_file(output, json.dumps(_geojson(near), indent=1) + "\n")


def _geojson(near: Sequence["Neighbour"]) -> dict[str, object]:
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {
                    "type": "Point",
                    "coordinates": [round(degrees, _DIGITS) for degrees in one.place],
                },
                "properties": {
                    "similarity": round(one.similarity, 6),
                    "file": one.file,
                    "row": one.row,
                    "column": one.col,
                },
            }
            for one in near
        ],
    }
