"""The command line: `deo COMMAND`. Each command is imported when it is called."""

import sys
from importlib import import_module

import click

from deo.cli.streams import guard_streams, output_fault
from deo.errors import DeoError

_COMMANDS = {
    # command: module that holds it under the same name ("-" becomes "_")
    "convert": "deo.cli.models",
    "demo": "deo.cli.demo",
    "evaluate": "deo.cli.downstream",
    "export": "deo.cli.training",
    "extract": "deo.cli.scenes",
    "finetune": "deo.cli.downstream",
    "info": "deo.cli.scenes",
    "models": "deo.cli.models",
    "plot": "deo.cli.training",
    "predict": "deo.cli.downstream",
    "prepare": "deo.cli.training",
    "pretrain": "deo.cli.training",
    "similar": "deo.cli.scenes",
}


class _LateGroup(click.Group):
    """A group that imports a command's module only to run or describe that command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command


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
