"""Classes and examples as values."""

import json

import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import ConfigError, DataError
from deo.explorer.labelling import Example, Labelling, parse_colour
from deo.scene.earth import Ground


@pytest.fixture
def two() -> Labelling:
    labelling = Labelling().with_class("water").with_class("forest", "#00ff00")
    for example in (Example(0, 1, 0), Example(4, 5, 1), Example(6, 7, 0)):
        labelling = labelling.with_example(example)
    return labelling


def test_with_class__names_and_colours_differ(two: Labelling) -> None:
    assert [style.name for style in two.classes] == ["water", "forest"]
    assert two.classes[1].colour == (0, 255, 0)
    more = two
    for number in range(8):
        more = more.with_class(f"class {number}")
    assert len({style.colour for style in more.classes}) == 10


@pytest.mark.parametrize("name", ["", "   ", "water", " water "])
def test_with_class__refuses_no_name_and_a_taken_one(two: Labelling, name: str) -> None:
    with pytest.raises(ConfigError):
        two.with_class(name)


def test_with_class__refuses_what_cannot_be_printed(two: Labelling) -> None:
    with pytest.raises(DataError, match="printable"):
        two.with_class("a\x00b")


def test_with_class__refuses_more_than_a_map_holds() -> None:
    labelling = Labelling()
    for number in range(255):
        labelling = labelling.with_class(str(number))
    with pytest.raises(ConfigError, match="255"):
        labelling.with_class("one more")


def test_with_example__of_a_labelled_cell_changes_its_class(two: Labelling) -> None:
    changed = two.with_example(Example(0, 1, 1))
    assert sorted(changed.examples) == [Example(0, 1, 1), Example(4, 5, 1), Example(6, 7, 0)]
    assert Example(0, 1, 0) in two.examples  # values do not change


def test_without_class__takes_its_examples_and_renumbers_the_others(two: Labelling) -> None:
    left = two.without_class(0)
    assert [style.name for style in left.classes] == ["forest"]
    assert left.examples == (Example(4, 5, 0),)
    assert left.used == ("forest",)


@pytest.mark.parametrize("number", [-1, 2])
def test_numbers__of_no_class_are_refused(two: Labelling, number: int) -> None:
    with pytest.raises(ConfigError, match="there are 2"):
        two.without_class(number)
    with pytest.raises(ConfigError, match="there are 2"):
        two.with_example(Example(1, 1, number))
    with pytest.raises(ConfigError, match="there are 2"):
        two.changed_class(number, name="x", colour="#000000")


def test_changed_class__keeps_its_own_name(two: Labelling) -> None:
    assert two.changed_class(0, name="water", colour="#010203").classes[0].colour == (1, 2, 3)
    assert two.changed_class(0, name="lake", colour="#010203").used == ("lake", "forest")
    with pytest.raises(ConfigError, match="already"):
        two.changed_class(0, name="forest", colour="#010203")


@pytest.mark.parametrize("text", ["red", "#12345", "#12345g", "#123456;x", "url(//evil)"])
def test_parse_colour__refuses_what_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="#rrggbb"):
        parse_colour(text)


def test_geojson__has_the_middles_of_cells_with_class_and_colour(two: Labelling) -> None:
    transform = Affine(0.5, 0, 10, 0, -0.5, 50)
    ground = Ground(name="map", crs=CRS.from_epsg(4326), transform=transform)
    features = json.loads(two.geojson(ground))["features"]
    assert features[1] == {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [12.75, 47.75]},
        "properties": {"class": "forest", "colour": "#00ff00"},
    }
    assert len(features) == 3
