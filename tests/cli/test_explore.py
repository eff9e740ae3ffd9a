"""The command: what it says and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import deo.explorer.serve
from deo.cli import cli
from deo.errors import DataError


def test_explore__refuses_what_holds_no_features(tmp_path: Path) -> None:
    missing = tmp_path / "missing.tif"
    done = CliRunner().invoke(cli, ["explore", "--no-browser", str(missing)])
    assert isinstance(done.exception, DataError)
    assert "deo extract" in str(done.exception)


@pytest.mark.parametrize("browse", [True, False])
def test_explore__says_where_the_page_is(monkeypatch: pytest.MonkeyPatch, browse: bool) -> None:
    def run(features: list[Path], scene: Any, *, browse: bool, say: Any) -> None:
        assert (features, scene) == ([Path("a.tif")], Path("s.tif"))
        say(f"http://127.0.0.1:4000/#{browse}")

    monkeypatch.setattr(deo.explorer.serve, "part_inputs", lambda paths: ([paths[0]], paths[1]))
    monkeypatch.setattr(deo.explorer.serve, "run_page", run)
    option = "--browser" if browse else "--no-browser"
    done = CliRunner().invoke(cli, ["explore", option, "a.tif", "s.tif"])
    assert done.exit_code == 0, done.output
    assert f"http://127.0.0.1:4000/#{browse}" in done.output
