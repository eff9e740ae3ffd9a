"""Commands on tasks: evaluate, finetune, predict."""

import os
from pathlib import Path
from typing import Any

import click

from deo.cli.tasks import (
    DATA,
    FILE,
    MODEL,
    TUNING,
    bands,
    common,
    device,
    integers,
    layers,
    report,
    tile_bar,
    with_options,
)
from deo.training.tasks.protocols import PROTOCOLS


@click.command()
@click.argument("protocol", type=click.Choice(list(PROTOCOLS)))
@with_options(*DATA, *MODEL, *TUNING)
@click.option("--layers", default="last", show_default=True, help="last, all, or 0,1,2,3.")
@click.option("--size", type=int, help="Resize chips to this side, for knn, probe and pixels.")
@click.option("--k", type=int, default=5, show_default=True, help="Neighbours.")
@click.option("--metric", type=click.Choice(["l2", "cosine"]), default="l2", show_default=True)
@click.option("--temperature", type=float, help="Weigh votes by exp(similarity / T).")
@click.option("--folds", type=int, default=5, show_default=True, help="Of probe, without splits.")
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the labels.")
@click.option("--seeds", default="0", show_default=True, help="One run each: 0,1,2")
@click.option("--json", "json_file", type=FILE, help="Write the result here.")
def evaluate(protocol: str, **given: Any) -> None:
    """Measure a backbone by PROTOCOL on a data set.

    The result stands beside the number that the paper gives.

    knn and probe classify tiles from frozen features; pixels is a logistic probe per pixel of a
    single scene; segment and change tune a head, and the backbone unless --frozen. --model also
    takes raw-bands and band-statistics.
    """
    from deo.training.tasks.evaluate import evaluate as measure
    from deo.training.tasks.results import check_target, markdown, write_json

    json_file = given["json_file"]
    if json_file is not None:
        check_target(json_file)
    result = measure(
        protocol,
        seeds=integers("--seeds", given["seeds"]),
        layers=layers(given["layers"]),
        size=given["size"],
        k=given["k"],
        metric=given["metric"],
        temperature=given["temperature"],
        folds=given["folds"],
        report=report,
        **common(given),
    )
    if json_file is not None:
        write_json(result, json_file)
    click.echo(markdown([result.record()]), nl=False)


@click.command()
@click.option("--task", type=click.Choice(["classify", "segment", "change"]), required=True)
@with_options(*DATA, *MODEL, *TUNING)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--fraction", type=float, default=1.0, show_default=True, help="Of the labels.")
@click.option("-o", "--output", type=FILE, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--overwrite", is_flag=True, help="Start anew in a folder that holds a run.")
def finetune(task: str, **given: Any) -> None:
    """Tune a backbone for a task.

    The best epoch is kept for `deo predict`.
    """
    from deo.training.tasks.finetune import finetune as tune

    result = tune(
        task,
        output=given["output"],
        seed=given["seed"],
        resume=given["resume"],
        overwrite=given["overwrite"],
        report=report,
        **common(given),
    )
    click.echo(f"{result.path}: {result.summary}")
    click.echo(f"next: deo predict {given['output']} SCENE -o map.tif")


@click.command()
@click.argument("tuned", type=FILE)
@click.argument("scenes", nargs=-1, required=True, type=FILE, metavar="SCENE [SECOND_DATE]")
@click.option("-o", "--output", type=FILE, required=True, help="Class map, a GeoTIFF.")
@click.option("--probabilities", type=FILE, help="Also write one band per class here.")
@click.option("--bands", help="Order of the scene's bands, for a file that names none.")
@click.option("--tile", type=int, help="Side in pixels. [default: near 384]")
@click.option("--overlap", type=int, help="Pixels shared by tiles. [default: a quarter]")
@click.option("--batch-size", type=int, default=4, show_default=True)
@click.option("--device", help="[default: cuda if there is one, else cpu]")
@click.option("--scale", type=float, help="Digital number = stored x SCALE + OFFSET, whatever")
@click.option("--offset", type=float, help="the metadata say (reflectance x 10000, no offset).")
@click.option("--resume", is_flag=True, help="Go on with what a killed run left.")
@click.option("--overwrite", is_flag=True, help="Replace maps that are there.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def predict(tuned: Path, scenes: tuple[Path, ...], output: Path, quiet: bool, **given: Any) -> None:
    """Map a scene with the network in TUNED.

    TUNED is a folder that `deo finetune` made.

    Networks for change take two dates on one grid. Any size of scene: it is read, computed and
    written in parts.
    """
    from deo.training.tasks.predict import Prediction, predict
    from deo.training.tasks.tuned import load_tuned

    with tile_bar(scenes[0].name, quiet=quiet) as progress:
        written = predict(
            load_tuned(tuned),
            list(scenes),
            output,
            probabilities=given["probabilities"],
            settings=Prediction(
                tile=given["tile"],
                overlap=given["overlap"],
                batch_size=given["batch_size"],
                device=device(given["device"]),
                bands=bands(given["bands"]),
                scale=given["scale"],
                offset=given["offset"],
            ),
            resume=given["resume"],
            overwrite=given["overwrite"],
            progress=progress,
        )
    for path in written:
        click.echo(os.fspath(path))
