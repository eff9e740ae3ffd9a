"""Classifiers in files: parameters in safetensors, the rest as JSON in their header."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deo.errors import DataError
from deo.files.documents import parse_json
from deo.maps.classifiers import METHODS, Classifier
from deo.maps.labels import MOST_CLASSES, Colour, class_name

_KIND = "deo classifier"
_KEY = "deo"
_LARGEST = 2**31  # bytes; 50,000 examples of 4,096 features take 800 MB
_HEADER = 8  # bytes that tell the length of the JSON behind them

FeatureIdentity = list[dict[str, str | int]]


class StoredClassifier(NamedTuple):
    """A classifier with what it needs to be applied again.

    Args:
        features: the identity of the maps that it was fitted on, in order.
        colours: of classes that had one given.
        accuracy: how it did on labels that it had not seen, as JSON; None: not known.
    """

    classifier: Classifier
    features: FeatureIdentity
    colours: Mapping[str, Colour]
    accuracy: dict[str, Any] | None

    def content(self) -> bytes:
        """Of the file; the same classifier always has the same."""
        one = self.classifier
        record = {
            "kind": _KIND,
            "version": version("deo"),
            "method": one.method,
            "classes": one.classes,
            "channels": one.channels,
            "features": self.features,
            "colours": dict(self.colours),
            "accuracy": self.accuracy,
        }
        arrays = {name: np.ascontiguousarray(values) for name, values in one.arrays.items()}
        return bytes(save(arrays, {_KEY: json.dumps(record, sort_keys=True)}))

    @property
    def digest(self) -> str:
        """Twelve digits that tell it from others."""
        return hashlib.sha256(self.content()).hexdigest()[:12]


def load_classifier(path: Path) -> StoredClassifier:
    """A classifier that `deo classify --save` wrote.

    Raises:
        DataError: the file cannot be read, or holds none that can be applied.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"it has {size / 2**30:.1f} GiB")
        content = path.read_bytes()
        record, arrays = _record(content), load(content)
        if record["kind"] != _KIND:
            raise ValueError(f"it is of kind {record['kind']!r}")
        classes = tuple(class_name(name, str(path)) for name in record["classes"])
        one = Classifier(
            method=record["method"], classes=classes, channels=record["channels"], arrays=arrays
        )
        _check(one)
        colours = {name: tuple(colour) for name, colour in record["colours"].items()}
        features = [dict(each) for each in record["features"]]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (DataError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no classifier, such as `deo classify --save` writes ({error})"
        ) from error
    return StoredClassifier(one, features, colours, record.get("accuracy"))


def _record(content: bytes) -> Any:
    """The JSON in the header's metadata."""
    length = int.from_bytes(content[:_HEADER], "little")
    header = parse_json(content[_HEADER : _HEADER + length], "its header")
    return parse_json(header["__metadata__"][_KEY], "its record")


def _check(one: Classifier) -> None:
    """Refuse arrays that do not fit together, with which applying would fail or never end."""
    count, channels = len(one.classes), one.channels
    if one.method not in METHODS or not 2 <= count <= MOST_CLASSES or len(set(one.classes)) < count:
        raise ValueError(f"{one.method!r} of {count} classes is none of ours")
    sizes = {name: values.shape for name, values in one.arrays.items()}
    if one.method == "logistic":
        _same(sizes, {"weight": (count, channels), "bias": (count,)})
        return
    standard = {"centre": (channels,), "spread": (channels,)}
    if one.method == "neighbours":
        number = len(one.arrays["numbers"])
        _same(sizes, standard | {"examples": (number, channels), "numbers": (number,)})
        _within(one.arrays["numbers"], 0, count)
        return
    trees, nodes = len(one.arrays["first"]), len(one.arrays["left"])
    of_node = dict.fromkeys(("left", "right", "feature", "threshold"), (nodes,))
    _same(sizes, standard | of_node | {"first": (trees,), "shares": (nodes, count)})
    _within(one.arrays["first"], 0, nodes)
    _within(one.arrays["feature"], 0, channels)
    for name in ("left", "right"):
        # a node leads to a later one, or to itself: every way through a tree ends
        _within(one.arrays[name], np.arange(nodes), nodes)


def _same(sizes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    if sizes != wanted or any(0 in size for size in sizes.values()):
        raise ValueError(f"its arrays are of sizes {sizes}, and {dict(wanted)} is wanted")


def _within(values: NDArray[Any], low: Any, high: int) -> None:
    if values.dtype.kind != "i" or (values < low).any() or (values >= high).any():
        raise ValueError("an array counts beyond what it counts")
