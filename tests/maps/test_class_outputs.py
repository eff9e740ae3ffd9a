import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.errors import OutputError
from deo.maps import class_outputs
from deo.maps.class_outputs import ClassOutputs, write_classes
from deo.maps.classifier_files import StoredClassifier, load_classifier
from deo.maps.classifiers import Classifier
from deo.maps.sinks import ClassMapSink
from deo.maps.stack import open_stack

Make = Callable[..., Any]

STORED = StoredClassifier(
    Classifier(
        method="logistic", classes=('<i>"west"</i> & co', "east"), channels=6,
        arrays={"weight": np.array([[0] * 6, [1] + [0] * 5], np.float32),
                "bias": np.array([0, -3], np.float32)},
    ), [], {"east": (9, 8, 7)}, {"overall": 0.5},
)  # fmt: skip


def outputs(folder: Path) -> ClassOutputs:
    return ClassOutputs(
        classes=folder / "map.tif", probabilities=folder / "shares.tif",
        margin=folder / "margin.tif", classifier=folder / "c.safetensors",
    )  # fmt: skip


def test_write_classes__writes_all_and_nothing_else(feature_file: Make, tmp_path: Path) -> None:
    path, folder = feature_file(), tmp_path / "out"
    folder.mkdir()
    with open_stack(path) as stack:
        areas = write_classes(stack, STORED, outputs(folder))
        identity = stack.identity
    assert areas is not None
    assert sorted(each.name for each in folder.iterdir()) == [
        "c.safetensors", "map.tif", "margin.tif", "shares.tif"
    ]  # fmt: skip
    with rasterio.open(folder / "map.tif") as file, rasterio.open(folder / "shares.tif") as shares:
        classes, probabilities = file.read(1), shares.read()
        assert file.tags(1) == {"CLASS_0": '<i>"west"</i> & co', "CLASS_1": "east"}
        assert file.colormap(1)[1] == (9, 8, 7, 255)
        tags = {key: value for key, value in file.tags().items() if key.startswith("DEO_")}
        assert shares.descriptions == ('<i>"west"</i> & co', "east")
        assert shares.tags()["DEO_HOLDS"] == "probabilities"
    assert ClassMapSink().read_tags(folder / "map.tif") == tags
    assert json.loads(tags["DEO_FEATURES"]) == identity
    assert json.loads(tags["DEO_CLASSIFIER"])["sha256"] == STORED.digest
    assert json.loads(tags["DEO_AREA_M2"])["east"] == round(areas[1])
    assert (classes[:2] == 255).all()
    np.testing.assert_array_equal(classes[2:], probabilities.argmax(axis=0)[2:])
    with rasterio.open(folder / "margin.tif") as file:
        margin = np.abs(probabilities[1] - probabilities[0])
        np.testing.assert_array_equal(file.read(1), margin)
    assert load_classifier(folder / "c.safetensors").digest == STORED.digest


def test_write_classes__a_failure_leaves_what_was_there(
    feature_file: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = feature_file(), tmp_path / "out"
    folder.mkdir()
    (folder / "map.tif").write_text("of before")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(class_outputs, "write_file", fail)
    with open_stack(path) as stack, pytest.raises(OSError, match="No space"):
        write_classes(stack, STORED, outputs(folder))
    assert [each.name for each in folder.iterdir()] == ["map.tif"]
    assert (folder / "map.tif").read_text() == "of before"


def test_class_outputs__refuses_names_before_anything_is_computed(tmp_path: Path) -> None:
    map_ = tmp_path / "map.tif"
    for wrong, said in (
        ({"margin": map_}, "two outputs have one name"),
        ({"margin": tmp_path / "m.png"}, r"a map is named \*.tif"),
        ({"classifier": tmp_path / "c.pkl"}, r"a classifier is named \*.safetensors"),
        ({"margin": tmp_path / "no" / "m.tif"}, "there is no folder"),
    ):
        with pytest.raises(OutputError, match=said):
            ClassOutputs(classes=map_, **wrong)
    map_.write_text("x")
    target = ClassOutputs(classes=map_)
    with pytest.raises(OutputError, match="--overwrite"):
        target.check([], overwrite=False)
    with pytest.raises(OutputError, match="is what is being read"):
        target.check([map_], overwrite=True)
    target.check([tmp_path / "other.tif"], overwrite=True)
