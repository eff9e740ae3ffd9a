from click.testing import CliRunner

from deo.cli import cli
from deo.models.registry import SPECS


def test_models__lists_every_backbone_with_its_weights() -> None:
    lines = CliRunner().invoke(cli, ["models"]).output.splitlines()
    assert lines[0].split() == [
        "NAME", "PARAMETERS", "STEMS", "ATTENTION", "WEIGHTS", "LICENCE"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:]] == list(SPECS)
    embedded = next(line for line in lines if line.startswith("deo_swin_n"))
    assert "M " in embedded
    assert SPECS["deo_swin_n"].source in embedded
