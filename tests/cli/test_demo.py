from pathlib import Path

from click.testing import CliRunner

from deo.cli import cli
from deo.synthetic import write_scene


def test_demo__prints_what_it_made_and_what_to_try(tmp_path: Path) -> None:
    write_scene(tmp_path / "given.tif", size=160)
    options = ["--scene", str(tmp_path / "given.tif"), "--model", "test_deo_swin", "--untrained"]
    shown = CliRunner().invoke(cli, ["demo", str(tmp_path / "out"), *options])
    assert shown.exit_code == 0, shown.output
    for word in ("features.tif", "preview.png", "similar.tif", "deo extract", "--at"):
        assert word in shown.output
