import pytest

from deo.errors import ConfigError
from deo.training.method.config import Views
from deo.training.method.viewspecs import ViewSpec, published_views, view_specs


def test_published_views__counts_and_probabilities() -> None:
    specs = published_views()
    assert [spec.size for spec in specs] == [224, 224] + [96] * 10
    assert [spec.blur for spec in specs] == [1.0, 0.1] + [0.5] * 10
    assert [spec.solarize for spec in specs] == [0.0, 0.2] + [0.0] * 10
    assert [spec.area for spec in specs] == [(0.4, 1.0)] * 2 + [(0.05, 0.4)] * 10
    assert {(s.jitter, s.brightness, s.contrast, s.saturation, s.hue) for s in specs} == {
        (0.8, 0.4, 0.4, 0.2, 0.1)
    }


@pytest.mark.parametrize(
    "bad",
    [{"size": 0}, {"area": (0.5, 0.4)}, {"area": (0.0, 1.0)}, {"jitter": 1.5}, {"hue": 0.6},
     {"aspect": (0.0, 1.0)}, {"blur_kernel": 22}, {"blur_sigma": (0.0, 1.0)}, {"contrast": -1.0},
     {"blur": 0.5, "size": 11}],
)  # fmt: skip
def test_view_spec__refuses(bad: dict) -> None:
    with pytest.raises(ConfigError, match=rf"view ({'|'.join(bad)}|blur_kernel) is"):
        ViewSpec(**{"size": 64} | bad)


def test_view_specs__are_the_published_ones_where_nothing_is_set() -> None:
    published = published_views()
    made = view_specs(Views())
    assert made == published
    weak = view_specs(Views(colour=0.5, local_crops=0))
    assert [spec.blur for spec in weak] == [0.5, 0.05]
    assert {(s.jitter, s.brightness, s.hue, s.grayscale) for s in weak} == {(0.8, 0.2, 0.05, 0.1)}
    assert {spec.brightness for spec in view_specs(Views(colour=0.0))} == {0.0}
