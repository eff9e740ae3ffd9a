from collections.abc import Callable
from typing import Any

import pytest

from deo.errors import DataError
from deo.maps.labels import class_name, read_labels

Make = Callable[..., Any]
geopandas = pytest.importorskip("geopandas")


def test_read_labels__sorts_and_numbers_the_classes(points: Make) -> None:
    labels = read_labels(points([(1, 1, "wood"), (2, 2, " water"), (3, 3, "wood"), (4, 4, None)]))
    assert labels.classes == ("water", "wood")
    assert labels.numbers.tolist() == [1, 0, 1]
    assert labels.nameless == 1
    assert len(labels.geometries) == 3


@pytest.mark.parametrize(
    ("values", "classes"),
    [([10, 9, 2], ("2", "9", "10")), ([1.0, 0.5, 2.0], ("0.5", "1", "2")),
     (["b", "10", "9"], ("10", "9", "b")), ([True, False, True], ("False", "True"))],
)  # fmt: skip
def test_read_labels__knows_numbers(points: Make, values: list[Any], classes: Any) -> None:
    path = points([(1, at, "") for at in range(3)], value=values)
    labels = read_labels(path, column="value")
    assert labels.classes == classes
    assert [labels.classes[number] for number in labels.numbers] == [
        class_name(value, "") for value in values
    ]


def test_read_labels__keeps_markup_as_text_and_colours(points: Make) -> None:
    hostile = '<img src=x onerror="alert(1)"> & co'
    path = points(
        [(1, 1, hostile), (2, 2, "wood"), (3, 3, "wood")], color=["#FF0010", "red", "#00ff00"]
    )
    labels = read_labels(path)
    assert labels.classes == (hostile, "wood")
    assert labels.colours == {hostile: (255, 0, 16)}


def test_read_labels__refuses_columns_that_are_none(points: Make) -> None:
    path = points([(1, 1, "a")], other=[1])
    with pytest.raises(DataError, match="no column 'clas'; did you mean 'class'"):
        read_labels(path, column="clas")
    table = geopandas.read_file(path).rename(columns={"class": "kind"})
    with pytest.raises(DataError, match=r"columns kind, other.*--column"):
        read_labels(table)
    assert read_labels(table[["kind", "geometry"]]).classes == ("a",)
    with pytest.raises(DataError, match="coordinate reference system"):
        read_labels(table.set_crs(None, allow_override=True))


def test_read_labels__refuses_what_is_no_class(points: Make) -> None:
    with pytest.raises(DataError, match="256 different values"):
        read_labels(points([(1, 1, f"c{at}") for at in range(256)]))
    with pytest.raises(DataError, match="no name"):
        read_labels(points([(1, 1, "x" * 101), (1, 1, "b")]))
    with pytest.raises(DataError, match="no name"):
        read_labels(points([(1, 1, "a\x1b[2J"), (1, 1, "b")]))
