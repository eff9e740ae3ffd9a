"""Commands of the pretraining: prepare, pretrain, export, plot."""

from pathlib import Path

import click

from deo.bands import BandSet
from deo.cli.options import (
    FOLDER,
    OVERWRITE,
    PATH,
    SCALING,
    TEACHER,
    bands,
    output,
    with_options,
)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="SOURCE...")
@output("Folder for the shards.", kind=FOLDER)
@click.option(
    "--rgb", type=FOLDER, help="Root of fMoW-RGB, whose aerial images give red, green and blue."
)
@click.option(
    "--unpaired",
    type=click.Choice(["keep", "skip"]),
    default="keep",
    show_default=True,
    help="Records without an aerial image: keep Sentinel-2's colours, or skip them.",
)
@click.option("--split", "splits", multiple=True, help="fMoW split to take; may be repeated.")
@click.option("--size", default=96, show_default=True, help="Side of a sample in pixels.")
@click.option("--stride", type=int, help="Scenes: step between samples. [default: the size]")
@click.option(
    "--valid", default=0.9, show_default=True, help="Scenes: part of a sample that must hold data."
)
@click.option("--pattern", default="*", show_default=True, help="Scenes: file names to take.")
@bands("Scenes that name no bands: what they hold, in order.")
@with_options(*SCALING)
@click.option("-j", "--workers", default=1, show_default=True, help="Processes at work.")
def prepare(
    sources: tuple[Path, ...],
    output: Path,
    rgb: Path | None,
    unpaired: str,
    splits: tuple[str, ...],
    size: int,
    stride: int | None,
    valid: float,
    pattern: str,
    bands: BandSet | None,
    scale: float | None,
    offset: float | None,
    workers: int,
) -> None:
    """Make shards for `deo pretrain` from SOURCE.

    SOURCE is fMoW-Sentinel's root, a folder of scenes, an HDF5 file with a dataset `images`, or
    WebDataset tars; several scenes and folders of scenes may be named. The same command again goes
    on where it was stopped. Beside the shards stand report.md (counts, statistics of each band),
    samples.csv and skipped.csv.
    """
    from deo.training.data.preparation import Preparation, recognise_source
    from deo.training.data.prepare import prepare as prepare_shards

    preparation = Preparation(
        source=sources[0],
        kind=recognise_source(sources[0]),
        further=sources[1:],
        aerial=rgb,
        unpaired="skip" if unpaired == "skip" else "keep",
        splits=splits,
        size=size,
        stride=stride,
        valid=valid,
        pattern=pattern,
        bands=bands,
        scale=scale,
        offset=offset,
    )
    report = prepare_shards(preparation, output, workers=workers, progress=True)
    click.echo(report.table())
    if report.skipped:
        click.echo(f"\nSkipped records and reasons: {output / 'skipped.csv'}")


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def pretrain(arguments: tuple[str, ...]) -> None:
    """Pretrain a backbone, or resume a run.

    Its options are those of the command it runs, which shows them with --help.
    """
    from deo.training.pretrain import command

    command.main(list(arguments), prog_name="deo pretrain")


@click.command()
@click.argument("run", type=FOLDER)
@output("The picture to write, a PNG. [default: RUN/curves.png]", required=False)
def plot(run: Path, output: Path | None) -> None:
    """Draw the curves of the pretraining in RUN."""
    from deo.training.run.plots import plot_run

    click.echo(plot_run(run, output or run / "curves.png"))


@click.command()
@click.argument("run", type=PATH)
@output("The weights to write, a .safetensors file.")
@TEACHER
@click.option("--step", type=int, help="Checkpoint of this step. [default: the newest]")
@click.option("--licence", help="Licence of these weights, for the card: apache-2.0.")
@OVERWRITE
@click.option("--push", "repository", help="Also upload to the Hugging Face Hub: user/name.")
def export(
    run: Path,
    output: Path,
    teacher: bool,
    step: int | None,
    licence: str | None,
    overwrite: bool,
    repository: str | None,
) -> None:
    """Write the backbone that RUN trained.

    The student is written, with both stems where an optical teacher took part, and a model card
    and an MLM description beside it. The file loads with timm
    (pretrained_cfg_overlay=dict(file=...)) and with `deo extract --weights`.
    """
    from deo.training.run import export as exporting

    for path in exporting.export(
        run, output, teacher=teacher, step=step, licence=licence, overwrite=overwrite
    ):
        click.echo(path)
    if repository:
        exporting.push(run, repository, teacher=teacher, step=step, licence=licence)
        click.echo(f"https://huggingface.co/{repository}")
