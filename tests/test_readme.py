"""Every code block of the README runs, in order, in one empty folder."""

import contextlib
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

import deo.demo
from deo.cli import cli
from deo.synthetic import write_scene

README = Path(__file__).parents[1] / "README.md"
SIDE = 384
BLOCK = re.compile(r"(?P<mark><!--[^>]*-->\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.DOTALL)


def test_readme__every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # the tour's scene is smaller than a user's, yet holds the place that the README compares with
    monkeypatch.setattr(deo.demo, "write_scene", partial(write_scene, size=SIDE))
    run, left_out = 0, []
    for block in BLOCK.finditer(README.read_text()):
        if block["mark"]:
            left_out.append(block["code"])
        elif block["kind"] == "python":
            with contextlib.redirect_stdout(None):
                exec(compile(block["code"], str(README), "exec"), {})
            run += 1
        else:
            for line in block["code"].splitlines():
                run_command(line)
            run += 1
    assert run >= 5
    assert all(code.startswith("pip install") for code in left_out)
    assert len(left_out) == 2


def run_command(line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "deo"
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, f"{line}\n{shown.output}\n{shown.exception}"
