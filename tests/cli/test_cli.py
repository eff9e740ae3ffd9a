import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from click.testing import CliRunner

from deo.cli import _COMMANDS, cli


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_summary__is_the_first_line_of_the_command(name: str) -> None:
    door = _COMMANDS[name]
    command = getattr(import_module(door.module), name)
    assert inspect.cleandoc(command.help).splitlines()[0] == door.summary


def test_help__lists_every_command_and_imports_none() -> None:
    code = (
        "import resource, sys\n"
        "from deo.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'timm', 'rasterio', 'tqdm'} & set(sys.modules)\n"
        "print(sorted(heavy), [name for name in sys.modules if name.startswith('deo.cli.')])\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    lines = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert lines[-2] == "[] ['deo.cli.streams']"
    assert float(lines[-1]) < 0.5
    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 : -2]]
    assert listed == sorted(_COMMANDS)


def test_command__unknown_names_are_a_usage_error() -> None:
    shown = CliRunner().invoke(cli, ["extrakt"])
    assert shown.exit_code == 2
    assert "No such command 'extrakt'" in shown.output
