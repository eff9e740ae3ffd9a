"""The command line: `deo COMMAND`. Each command is imported when it is called."""

import sys
from importlib import import_module
from typing import NamedTuple

import click

from deo.cli.streams import guard_streams, output_fault
from deo.errors import DeoError


class _Door(NamedTuple):
    """Where a command is, under its own name ("-" becomes "_"), and what it does in one line.

    The line repeats the first of the command's docstring, so that `deo --help` need not import
    every command to show it; a test compares the two.
    """

    module: str
    summary: str


_COMMANDS = {
    "classify": _Door("deo.cli.classification", "Turn FEATURES and a few labels into a class map."),
    "compare": _Door(
        "deo.cli.downstream", "Compare two results of `deo evaluate --json` sample by sample."
    ),
    "convert": _Door("deo.cli.models", "Write the backbone in CHECKPOINT as a safetensors file."),
    "demo": _Door("deo.cli.demo", "See what deo does, without a network connection."),
    "evaluate": _Door("deo.cli.downstream", "Measure a backbone by PROTOCOL on a data set."),
    "explore": _Door("deo.cli.explore", "Look at FEATURES in the browser, and label places."),
    "export": _Door("deo.cli.training", "Write the backbone that RUN trained."),
    "extract": _Door("deo.cli.extraction", "Turn each SCENE into a georeferenced map of features."),
    "finetune": _Door("deo.cli.downstream", "Tune a backbone for a task."),
    "index": _Door("deo.cli.neighbours", "Index the vectors in FEATURES, for `deo similar`."),
    "info": _Door("deo.cli.info", "Say what deo understands of SCENE."),
    "models": _Door("deo.cli.models", "List the backbones and where their weights come from."),
    "plot": _Door("deo.cli.training", "Draw the curves of the pretraining in RUN."),
    "predict": _Door("deo.cli.prediction", "Map each SCENE with the network in TUNED."),
    "prepare": _Door("deo.cli.training", "Make shards for `deo pretrain` from SOURCE."),
    "pretrain": _Door("deo.cli.training", "Pretrain a backbone, or resume a run."),
    "similar": _Door(
        "deo.cli.neighbours", "Map how similar each place in FEATURES is to one chosen place."
    ),
}


class _LateGroup(click.Group):
    """A group that imports a command's module only to run that command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(_COMMANDS[cmd_name].module)
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, door.summary) for name, door in sorted(_COMMANDS.items())])


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deo", message="deo %(version)s")
def cli() -> None:
    """Features from Sentinel-2: extract, pretrain, fine-tune, evaluate."""


def main() -> None:
    """Run the command line and exit.

    A `DeoError` becomes one message and exit status 1, Ctrl-C status 130. A reader of the output
    who has heard enough (`deo info scene.tif | head -1`) does not stop the command and is no
    failure of it.
    """
    guard_streams()
    status = _run()
    if (fault := output_fault()) is not None:
        click.echo(f"Error: standard output cannot be written: {fault.strerror}", err=True)
        status = status or 1
    sys.exit(status)


def _run() -> int:
    try:
        return int(cli.main(prog_name="deo", standalone_mode=False) or 0)
    except DeoError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # Ctrl-C
        click.echo("Stopped.", err=True)
        return 130
