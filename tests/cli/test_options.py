import click
import pytest
from click.testing import CliRunner

from deo.bands import BandSet
from deo.cli.options import BandNames, Layer, Names, Numbers, output, with_options
from deo.errors import BandError, ConfigError

PARAMETER = click.Option(["--at"])


def test_numbers__text_words_and_faults() -> None:
    whole = Numbers(int, {"all": None})
    assert whole.convert("1,2", PARAMETER, None) == (1, 2)
    assert whole.convert("all", PARAMETER, None) is None
    assert Numbers().convert("1.5", PARAMETER, None) == (1.5,)
    with pytest.raises(ConfigError, match=r"--at '1\.5' is no list of whole numbers"):
        whole.convert("1.5", PARAMETER, None)


def test_names_bands_and_layers() -> None:
    assert Names().convert(" land, water,", PARAMETER, None) == ("land", "water")
    assert BandNames().convert("B04,B03", PARAMETER, None) == BandSet(["B04", "B03"])
    with pytest.raises(BandError, match="B99"):
        BandNames().convert("B99", PARAMETER, None)
    layers = [Layer().convert(text, PARAMETER, None) for text in ("all", "last", "2")]
    assert layers == [None, -1, 2]


def test_with_options__are_listed_in_their_order() -> None:
    @click.command()
    @with_options(output("Where to."), click.option("--second"))
    def command(output: object, second: object) -> None: ...

    shown = CliRunner().invoke(command, ["--help"]).output
    assert shown.index("--output") < shown.index("--second")
