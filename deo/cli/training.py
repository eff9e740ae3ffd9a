"""Commands of the pretraining: prepare, pretrain, export, plot."""

from pathlib import Path

import click

from deo.bands import BandSet
from deo.errors import BandError

_FOLDER = click.Path(path_type=Path, file_okay=False)
_ANY = click.Path(path_type=Path)


def _bands(ctx: click.Context, param: click.Parameter, value: str | None) -> BandSet | None:
    try:
        return BandSet.parse(value) if value else None
    except BandError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("source", type=_ANY)
@click.option("-o", "--output", type=_FOLDER, required=True, help="Folder for the shards.")
@click.option("--rgb", type=_FOLDER, help="fMoW-RGB's root: aerial images for red, green, blue.")
@click.option(
    "--unpaired",
    type=click.Choice(["keep", "skip"]),
    default="keep",
    show_default=True,
    help="Records without an aerial image: keep Sentinel-2's colours, or skip them.",
)
@click.option("--split", "splits", multiple=True, help="fMoW split to take; may be repeated.")
@click.option("--size", default=96, show_default=True, help="Edge of a sample in pixels.")
@click.option("--stride", type=int, help="Scenes: step between samples. [default: the size]")
@click.option(
    "--valid", default=0.9, show_default=True, help="Scenes: part of a sample that must hold data."
)
@click.option("--pattern", default="*", show_default=True, help="Scenes: file names to take.")
@click.option(
    "--bands", callback=_bands, help="Scenes that name no bands: what they hold, e.g. B02,B03."
)
@click.option(
    "--scale", type=float, help="Digital number = stored x scale + offset, above all evidence."
)
@click.option("--offset", type=float, help="See --scale; -1000 from baseline 04.00 on.")
@click.option("-j", "--workers", default=1, show_default=True, help="Processes.")
def prepare(
    source: Path,
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
    WebDataset tars. The same command again goes on where it was stopped. Beside the shards stand
    report.md (counts, statistics of each band), samples.csv and skipped.csv.
    """
    from deo.training.data.preparation import Preparation, recognise
    from deo.training.data.prepare import prepare as prepare_shards

    preparation = Preparation(
        source=source,
        kind=recognise(source),
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
@click.argument("run", type=_FOLDER)
@click.option("-o", "--output", type=_ANY, help="PNG to write.  [default: RUN/curves.png]")
def plot(run: Path, output: Path | None) -> None:
    """Draw the curves of the pretraining in RUN."""
    from deo.training.run.plots import plot_run

    click.echo(plot_run(run, output or run / "curves.png"))


@click.command()
@click.argument("run", type=_ANY)
@click.option("-o", "--output", type=_ANY, required=True, help="Weights to write (.safetensors).")
@click.option("--teacher", is_flag=True, help="The EMA teacher (multispectral stem alone).")
@click.option("--step", type=int, help="Checkpoint of this step.  [default: the newest]")
@click.option("--licence", help="Of these weights, for the card, e.g. apache-2.0.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@click.option("--push", "repository", help="Upload to the Hugging Face Hub too: user/name.")
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
