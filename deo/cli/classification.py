"""The command that makes a class map from features and labels."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deo.cli.options import OVERWRITE, PATH, QUIET, output, with_options

if TYPE_CHECKING:
    from deo.maps.classify import Classification

_NARROW = 40  # characters of a class's name that the table shows


@click.command()
@click.argument("features", nargs=-1, required=True, type=PATH, metavar="FEATURES...")
@output("The class map to write, a GeoTIFF.")
@click.option(
    "--labels",
    type=PATH,
    help="Points or polygons with their classes: .geojson, .gpkg, .parquet, or .csv with lon, lat.",
)
@click.option(
    "--column", help="The column of the labels that holds the classes. [default: class, label, ...]"
)
@click.option(
    "--method",
    type=click.Choice(["logistic", "neighbours", "forest"]),
    default="logistic",
    show_default=True,
    help="Logistic regression, votes of the five nearest neighbours, or a random forest.",
)
@click.option(
    "--classifier", type=PATH, help="Apply this classifier, which --save wrote, without labels."
)
@click.option("--save", type=PATH, help="Keep the classifier, as a .safetensors.")
@click.option("--probabilities", type=PATH, help="Also write one band for each class, a GeoTIFF.")
@click.option(
    "--margin",
    type=PATH,
    help="Also write how much more probable each cell's class is than the second, a GeoTIFF.",
)
@click.option(
    "--block",
    type=float,
    help="Side in metres of the blocks of ground that are held out to judge the accuracy. "
    "[default: an eighth of the labelled ground]",
)
@with_options(OVERWRITE, QUIET)
def classify(features: tuple[Path, ...], output: Path, quiet: bool, **settings: Any) -> None:
    """Turn FEATURES and a few labels into a class map.

    FEATURES is a file that `deo extract` wrote, or several of one place: layers or dates. The map
    has the names and colours of the classes in it. What is printed is the area of each class, and
    how well the classifier did on blocks of labelled ground that it had not seen.
    """
    from deo.maps.classify import classify as make
    from deo.maps.progress import tile_bar

    with tile_bar(output.name, quiet=quiet or None) as bar:
        made = make(list(features), output, progress=bar, **settings)
    for line in _table(made):
        click.echo(line)
    for note in made.notes:
        click.echo(f"Note: {note}", err=True)


def _table(made: "Classification") -> list[str]:
    """What became of the map, in lines."""
    accuracy = made.accuracy
    names = [_short(name) for name in made.classes]
    wide = max(5, *(len(name) for name in names))
    heads = ["area km2", "share", "examples", "recall", "precision"]
    total = sum(made.areas.values())
    lines = [str(made.output), f"{'class':{wide}}" + "".join(f"{head:>11}" for head in heads)]
    for number, (name, shown) in enumerate(zip(made.classes, names, strict=True)):
        area = made.areas.get(name, math.nan)
        cells = [
            f"{area / 1e6:.4g}",
            f"{area / total:.1%}" if total else "-",
            str(made.examples.get(name, "-")),
            *(
                ["-", "-"]
                if accuracy is None
                else [_percent(accuracy.recall[number]), _percent(accuracy.precision[number])]
            ),
        ]
        lines.append(f"{shown:{wide}}" + "".join(f"{cell:>11}" for cell in cells))
    if accuracy is not None:
        lines.append(
            f"accuracy {accuracy.overall:.1%} (95 % interval {accuracy.low:.1%} to "
            f"{accuracy.high:.1%}) of {accuracy.cells} labelled cells, held out by "
            f"{accuracy.blocks} blocks of {made.block_metres:.0f} m in {accuracy.folds} rounds"
        )
    return lines


def _short(name: str) -> str:
    return name if len(name) <= _NARROW else f"{name[: _NARROW - 3]}..."


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"
