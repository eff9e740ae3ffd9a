from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from deo.errors import DataError
from deo.maps.classifier_files import StoredClassifier, load_classifier
from deo.maps.classifiers import METHODS, Classifier, fit_classifier

pytest.importorskip("sklearn")

CLASSES = ("<b>wood</b>", "water", "Ödland")


def stored(method: str = "logistic", **changes: Any) -> StoredClassifier:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    one = fit_classifier(vectors, np.arange(30) % 3, CLASSES, method=method)
    return StoredClassifier(one, [{"DEO_MODEL": "toy", "channels": 5}], {"water": (0, 0, 255)},
                            {"overall": 0.5})._replace(**changes)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_load_classifier__gives_the_same_back(tmp_path: Path, method: str) -> None:
    before, path = stored(method), tmp_path / "c.safetensors"
    assert before.content() == stored(method).content()
    path.write_bytes(before.content())
    after = load_classifier(path)
    assert after[1:] == before[1:]
    assert after.digest == before.digest
    assert after.classifier.classes == CLASSES
    vectors = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    wanted = before.classifier.probabilities(vectors)
    assert after.classifier.probabilities(vectors).tobytes() == wanted.tobytes()


def broken(method: str, **arrays: Any) -> StoredClassifier:
    one = stored(method)
    classifier = Classifier(
        method=method, classes=CLASSES, channels=5, arrays={**one.classifier.arrays, **arrays}
    )
    return one._replace(classifier=classifier)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no classifier"),
        (b"\xff" * 100, "no classifier"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "no classifier"),
        (save({"weight": np.zeros(3)}), "no classifier"),
        (save({"weight": np.zeros(3)}, {"deo": '{"kind": "other"}'}), "of kind 'other'"),
        (save({"weight": np.zeros(3)}, {"deo": "[" * 5000}), "no classifier"),
        (broken("logistic", bias=np.zeros(2)).content(), "arrays are of sizes"),
        (broken("neighbours", numbers=np.full(30, 3)).content(), "counts beyond"),
        (broken("forest", first=np.array([10**9])).content(), "counts beyond"),
        (stored().content()[:-7], "no classifier"),
    ],
)
def test_load_classifier__refuses_what_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_classifier(path)


def test_load_classifier__refuses_trees_without_end(tmp_path: Path) -> None:
    left = stored("forest").classifier.arrays["left"].copy()
    left[1:] = 0  # back to the root
    path = tmp_path / "c.safetensors"
    path.write_bytes(broken("forest", left=left).content())
    with pytest.raises(DataError, match="counts beyond"):
        load_classifier(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_classifier(tmp_path / "absent.safetensors")
