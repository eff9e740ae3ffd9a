"""The command line of pretraining: `deo pretrain`, `python -m` or `torchrun -m
deo.training.pretrain`. `deo.training.run.pretraining` is the same from Python.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click

from deo.errors import ConfigError, DeoError
from deo.training import settings
from deo.training.config import Config
from deo.training.recipes import RECIPES, recipe
from deo.training.run import pretraining
from deo.training.run.dryrun import dry_run
from deo.training.run.stopping import Stopped

EXIT_REQUEUE = 75
"""Exit status (EX_TEMPFAIL) of a run that a signal ended and that resumes when started again."""

EXIT_INTERRUPTED = 130


def compose(
    recipe_name: str | None, file: Path | None, assignments: Sequence[str], data: Path | None
) -> Config:
    """The configuration: a recipe, a file or both, then single settings.

    A setting may leave out its section where its name is unambiguous: `steps=100`.

    Raises:
        ConfigError: anything is unknown or cannot work.
    """
    if recipe_name is None and file is None:
        raise ConfigError(
            f"no run named: give --recipe NAME ({', '.join(RECIPES)}), or --config FILE"
        )
    config = recipe(recipe_name) if recipe_name else Config()
    if file is not None:
        config = settings.load(file, base=config)
    config = settings.override(config, map(qualified, assignments))
    if data is not None:
        config = settings.override(config, [f"data.source={json.dumps(str(data))}"])
    if not config.data.source:
        raise ConfigError("no data: give --data FOLDER (made by `deo prepare`), or data.source")
    return config


def qualified(assignment: str) -> str:
    """`run.steps=100` from `steps=100`, when only one section has that name."""
    name, equals, value = assignment.partition("=")
    tree = Config()
    sections = [
        section
        for section in tree.__dataclass_fields__
        if name.strip() in getattr(tree, section).__dataclass_fields__
    ]
    if "." in name or name.strip() in tree.__dataclass_fields__ or len(sections) != 1:
        return assignment
    return f"{sections[0]}.{name.strip()}{equals}{value}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", "recipe_name", help=f"A ready configuration: {', '.join(RECIPES)}.")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="A TOML file whose settings override the recipe's.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="One setting, e.g. run.steps=100; may be repeated.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Shards, an HDF5 file, tars or scenes (data.source).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the run.",
)
@click.option(
    "--dry-run",
    "dry",
    is_flag=True,
    help="Build everything, take two steps and report on them; write nothing.",
)
def command(
    recipe_name: str | None,
    file: Path | None,
    assignments: tuple[str, ...],
    data: Path | None,
    output: Path | None,
    dry: bool,
) -> None:
    """Pretrain a backbone. The same command again resumes from OUTPUT/checkpoints.

    SIGTERM or SIGUSR1 saves and exits with status 75: start the same command again.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    config = compose(recipe_name, file, assignments, data)
    if _speaks():
        click.echo(settings.dumps(config))
    if dry:
        report = dry_run(config)
        if _speaks():
            click.echo(report)
        return
    if output is None:
        raise ConfigError("no output folder: give --output FOLDER")
    try:
        state = pretraining.pretrain(config, output=output)
    except Stopped as stop:
        click.echo(f"{stop}; the same command goes on from there", err=True)
        sys.exit(EXIT_INTERRUPTED if stop.signal_name == "SIGINT" else EXIT_REQUEUE)
    if _speaks():
        click.echo(f"finished {state.steps} steps; next: deo export {output} -o model.safetensors")


def _speaks() -> bool:
    return os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Run the command; a `DeoError` becomes one message and exit status 1."""
    try:
        command.main(prog_name="deo pretrain")
    except DeoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


class _CallableModule(ModuleType):
    """This module, called as the function of its name."""

    __call__ = staticmethod(pretraining.pretrain)


# `deo.training.pretrain` is what `torchrun -m` runs, and so a module; importing it would hide a
# function of that name in the package. Python allows a module's class to be changed for such ends.
sys.modules[__name__].__class__ = _CallableModule

if __name__ == "__main__":
    main()
