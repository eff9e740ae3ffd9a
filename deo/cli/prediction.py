"""The command that maps scenes with a tuned network."""

from pathlib import Path
from typing import Any

import click

from deo.cli.options import (
    COMPUTING,
    MASKING,
    PATH,
    RESOLUTION,
    SCALING,
    SCENE_BANDS,
    WRITING,
    output,
    with_options,
)


@click.command()
@click.argument("tuned", type=PATH)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...")
@output(
    "The class map to write, a GeoTIFF; for several scenes a folder or a template such as "
    "maps/{name}.tif.",
    required=False,
    kind=str,
)
@click.option(
    "--probabilities", help="Also write one band for each class to this file, folder or template."
)
@click.option("--preview", help="Also draw true colour beside the classes, a PNG.")
@with_options(SCENE_BANDS, *COMPUTING, *SCALING, RESOLUTION, *MASKING, *WRITING)
def predict(
    tuned: Path,
    scenes: tuple[str, ...],
    output: str | None,
    probabilities: str | None,
    preview: str | None,
    stac: bool,
    overwrite: bool,
    resume: bool,
    shard: str | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Map each SCENE with the network in TUNED.

    TUNED is a folder that `deo finetune` made. The network sees a scene in tiles of the size and
    under the contract that it was tuned at, so that the map is what it was scored by.

    A SCENE, or a @LIST of them, is what `deo extract` takes, and several are dealt with as there. A
    network for change takes two dates on one grid for each map: FIRST SECOND, and in a list FIRST,
    SECOND, OUTPUT and PREVIEW. A scene may have any size, because it is read, computed and written
    in parts.
    """
    from deo.cli.scenes import Options, make_scenes
    from deo.training.tasks.predict import Prediction

    plan = Prediction(tuned=tuned, **settings)
    make_scenes(
        plan,
        scenes,
        output,
        Options(stac=stac, overwrite=overwrite, resume=resume, quiet=quiet, shard=shard),
        preview=preview,
        probabilities=probabilities,
        dates=plan.dates,
    )
