"""The command line: `deo COMMAND`. Each command is imported when it is called."""

import sys
from importlib import import_module

import click

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
    """Run the command line; a `DeoError` becomes one message and exit status 1."""
    try:
        cli.main(prog_name="deo")
    except DeoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
