"""Commands on labelled data: evaluate, finetune."""

from pathlib import Path
from typing import Any

import click

from deo.cli.options import (
    BACKBONE,
    DATA,
    LAYERS,
    OVERWRITE,
    PATH,
    RESUME,
    TUNING,
    Numbers,
    output,
    with_options,
)
from deo.training.tasks.protocols import PROTOCOLS


@click.command()
@click.argument("protocol", type=click.Choice(list(PROTOCOLS)))
@with_options(*DATA, *BACKBONE, *TUNING)
@LAYERS
@click.option("--size", type=int, help="Resize chips to this side, for knn, probe and pixels.")
@click.option("--k", type=int, default=5, show_default=True, help="Number of neighbours.")
@click.option(
    "--metric",
    type=click.Choice(["l2", "cosine"]),
    default="l2",
    show_default=True,
    help="Distance between neighbours.",
)
@click.option("--temperature", type=float, help="Weigh votes by exp(similarity / TEMPERATURE).")
@click.option(
    "--folds", type=int, default=5, show_default=True, help="Folds of probe, without splits."
)
@click.option(
    "--seeds", type=Numbers(int), default="0", show_default=True, help="One run each: 0,1,2."
)
@click.option("--json", "json_file", type=PATH, help="Also write the result to this file.")
def evaluate(protocol: str, json_file: Path | None, **settings: Any) -> None:
    """Measure a backbone by PROTOCOL on a data set.

    The result stands beside the number that the paper gives.

    knn and probe classify tiles from frozen features; pixels is a logistic probe per pixel of a
    single scene; classify, segment and change tune a head, and the backbone unless --frozen.
    --model also takes raw-bands and band-statistics.
    """
    from deo.training import evaluate
    from deo.training.tasks.results import check_target, markdown, write_json

    if json_file is not None:
        check_target(json_file)
    result = evaluate(protocol, progress=True, **settings)
    if json_file is not None:
        write_json(result, json_file)
    click.echo(markdown([result.record()]), nl=False)
    if result.comparison is not None:
        click.echo(f"\n{result.comparison.markdown()}", nl=False)


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
def compare(first: Path, second: Path) -> None:
    """Compare two results of `deo evaluate --json` sample by sample.

    FIRST and SECOND have the same test part. The interval of the difference is a bootstrap over
    their common units.
    """
    from deo.training.tasks.paired import compare_results
    from deo.training.tasks.results import read_json

    click.echo(str(compare_results(read_json(first), read_json(second))))


@click.command()
@click.option(
    "--task",
    type=click.Choice(["classify", "segment", "change"]),
    required=True,
    help="What the labels are for.",
)
@with_options(*DATA, *BACKBONE, *TUNING)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random draw.")
@with_options(output("Folder of the run."), RESUME, OVERWRITE)
def finetune(task: str, **settings: Any) -> None:
    """Tune a backbone for a task.

    The best epoch is kept for `deo predict`.
    """
    from deo.training import finetune

    finished = finetune(task, progress=True, **settings)
    click.echo(f"{finished.path}: {finished.summary}")
    if finished.comparison is not None:
        click.echo(finished.comparison.markdown(), nl=False)
    scenes = "FIRST_DATE SECOND_DATE" if task == "change" else "SCENE"
    click.echo(f"next: deo predict {settings['output']} {scenes} -o map.tif")
