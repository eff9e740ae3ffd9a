from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.errors import DataError
from deo.maps.examples import gather
from deo.maps.labels import read_labels
from deo.maps.stack import open_stack

Make = Callable[..., Any]
pytest.importorskip("geopandas")


def test_gather__reads_the_features_at_the_labels(feature_file: Make, points: Make) -> None:
    path = feature_file()
    labels = read_labels(points([(5, 7, "b"), (19, 29, "a"), (5, 8, "b"), (0, 3, "a")]))
    with open_stack(path) as stack, rasterio.open(path) as file:
        examples = gather(stack, labels)
        data = file.read()
    assert examples.classes == ("a", "b")
    assert examples.numbers.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(examples.vectors, [data[:, 5, 7], data[:, 5, 8], data[:, 19, 29]])
    assert examples.notes == (
        "1 labelled cell holds no data.",
        "These classes have fewer than five labelled cells: a (1), b (2).",
    )


def test_gather__says_what_became_of_classes_without_examples(
    feature_file: Make, points: Make
) -> None:
    places = [(row, col, "west" if col < 15 else "east") for row in range(2, 8) for col in (3, 20)]
    with open_stack(feature_file()) as stack:
        examples = gather(stack, read_labels(points([*places, (0, 0, "cloud"), (0, 500, "sea")])))
        assert examples.classes == ("east", "west")
        assert any("no example of cloud, sea" in note for note in examples.notes)
        with pytest.raises(DataError, match=r"1 class on this map \(west\).*two or more"):
            gather(stack, read_labels(points([(5, 5, "west"), (0, 5, "east")])))
        with pytest.raises(DataError, match=r"0 classes on this map.*2 labelled cells hold no"):
            gather(stack, read_labels(points([(0, 5, "west"), (0, 15, "east")])))
        with pytest.raises(DataError, match=r"none of the labels .* from 15\.0000,45\.1\d+ to 15"):
            gather(stack, read_labels(points([(500, 5, "west"), (500, 15, "east")])))
