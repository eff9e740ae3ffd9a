"""When there is a classifier, and which cells are suggested."""

import numpy as np

from deo.explorer.labelling import Example, Labelling
from deo.explorer.learning import Cell, learn, suggest
from deo.explorer.levels import Sample


def test_learn__needs_examples_of_two_classes() -> None:
    vectors = {Cell(0, 0): np.zeros(3, np.float32), Cell(5, 5): np.ones(3, np.float32)}
    labelling = Labelling().with_class("10").with_class("9").with_class("unused")
    assert learn(labelling, vectors) is None
    labelling = labelling.with_example(Example(0, 0, 0))
    assert learn(labelling, vectors) is None
    classifier = learn(labelling.with_example(Example(5, 5, 1)), vectors)
    assert classifier is not None
    assert classifier.classes == ("9", "10")  # numbers by their size
    shares = classifier.of_known(np.stack(list(vectors.values())))
    assert shares.argmax(axis=1).tolist() == [1, 0]


def test_suggest__takes_the_most_uncertain_that_are_apart() -> None:
    cells = np.array([0, 1, 50, 51, 99])
    sample = Sample(np.zeros((5, 1), np.float32), np.zeros(5, np.float32), cells, cells)
    uncertainty = np.array([0.9, 0.95, 0.2, 0.1, 0.8], np.float32)
    assert suggest(sample, uncertainty, [Cell(98, 98)], side=100) == [Cell(1, 1), Cell(50, 50)]
