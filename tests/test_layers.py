import pytest

from deo.errors import ConfigError, ModelError
from deo.layers import feature_model, parse_layer


@pytest.mark.parametrize(
    ("written", "layer"), [("all", None), (None, None), ("last", -1), ("2", 2), (-2, -2)]
)
def test_parse_layer(written: int | str | None, layer: int | None) -> None:
    assert parse_layer(written) == layer


def test_parse_layer__refuses_words() -> None:
    with pytest.raises(ConfigError, match="layer 'fine' is neither a number nor 'last' nor 'all'"):
        parse_layer("fine")


def test_feature_model__gives_the_layers_that_were_asked_for() -> None:
    every = feature_model("test_deo_swin", untrained=True, layer=None)
    assert every.layers == (0, 1, 2, 3)
    assert every.model.channels == (16, 32, 64, 128)
    assert every.model.reductions == (4, 8, 16, 32)
    one = feature_model("test_deo_swin", untrained=True, layer=-3)
    assert (one.layers, one.model.channels) == ((1,), (32,))
    assert one.model.identity["weights"] == "untrained"
    with pytest.raises(ModelError, match=r"has the layers 0 \(finest\) to 3"):
        feature_model("test_deo_swin", untrained=True, layer=4)
