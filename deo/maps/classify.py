"""A land-cover map from features and a few labels: `deo.classify`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import ConfigError
from deo.maps.block_validation import Accuracy, validate
from deo.maps.cell_area import cell_areas
from deo.maps.class_outputs import ClassOutputs, write_classes
from deo.maps.classifier_files import StoredClassifier, load_classifier
from deo.maps.classifiers import METHODS, fit_classifier
from deo.maps.examples import gather
from deo.maps.labels import Labels, read_labels
from deo.maps.progress import Progress, shown
from deo.maps.stack import (
    FeatureMap,
    FeatureStack,
    open_stack,
    paths_of,
    refuse_other_features,
)


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A class map that was written, and what is known of it.

    Args:
        output: the class map; its values are indices of `classes`, 255 where there are no data.
        classes: their names.
        areas: square metres of the ground that each class was given, by name; empty where the map
            has no position on the Earth.
        examples: how many labelled cells of each class the classifier was fitted on, by name;
            empty where it was fitted before.
        accuracy: on labelled ground that was held out; None where that could not be judged.
        block_metres: side of the blocks that were held out; None where there were none.
        classifier: what made the map, to be saved or applied to other features.
        notes: what became of labels that were not used, and what limits the accuracy.
    """

    output: Path
    classes: tuple[str, ...]
    areas: Mapping[str, float]
    examples: Mapping[str, int]
    accuracy: Accuracy | None
    block_metres: float | None
    classifier: StoredClassifier
    notes: tuple[str, ...]


def classify(
    features: FeatureMap | Sequence[FeatureMap],
    output: str | os.PathLike[str],
    *,
    labels: Any = None,
    column: str | None = None,
    method: str = "logistic",
    classifier: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    probabilities: str | os.PathLike[str] | None = None,
    margin: str | os.PathLike[str] | None = None,
    block: float | None = None,
    overwrite: bool = False,
    progress: Progress = None,
) -> Classification:
    """Turn features and labels of a few places into a class map of all of them.

    Memory is bounded: the map is read, classified and written in parts.

    Args:
        features: a file that `deo extract` wrote (GeoTIFF, Zarr or GeoParquet), what `deo.extract`
            returned, or several of them for one place: layers or dates.
        output: the class map to write, a GeoTIFF with the names and colours of the classes.
        labels: points or polygons with their classes: a GeoJSON, a GeoPackage, a GeoParquet, a CSV
            with `lon` and `lat`, or a GeoDataFrame.
        column: of the labels that holds the classes; None: `class`, or the only one.
        method: `logistic`, `neighbours` or `forest`, see `deo.maps.classifiers.fit_classifier`.
        classifier: one that was saved before, in place of labels.
        save: where to keep the classifier, a `.safetensors`.
        probabilities: a GeoTIFF to write with one band for each class.
        margin: a GeoTIFF to write: the probability of the class less that of the second.
        block: side in metres of the blocks of ground by which the accuracy is judged; None: an
            eighth of the longer side of the labelled ground.
        overwrite: replace what is there.
        progress: True for a bar; or told (parts dealt with, parts in all).

    Raises:
        ConfigError: not one of `labels` and `classifier` is given, or settings cannot work.
        DataError: the labels cannot be used, or the classifier is one of other features.
        SceneError: the features cannot be read, or have no position on the Earth.
        OutputError: something cannot be written, or exists and may not be replaced.

    Example:
        >>> deo.classify("features.tif", "map.tif", labels="points.geojson")  # doctest: +SKIP
    """
    _check_settings(labels, classifier, method)
    outputs = ClassOutputs(
        classes=Path(output),
        probabilities=_path(probabilities),
        margin=_path(margin),
        classifier=_path(save),
    )
    paths = [path for path in (labels, classifier) if isinstance(path, str | os.PathLike)]
    outputs.check([*paths_of(features), *paths], overwrite=overwrite)
    with open_stack(features) as stack:
        if classifier is not None:
            made = _Made(load_classifier(Path(classifier)))
            refuse_other_features(made.stored.features, stack, owner=str(classifier))
        else:
            made = _fit(stack, read_labels(labels, column=column), method, block)
        with shown(progress, outputs.classes.name) as tell:
            areas = write_classes(stack, made.stored, outputs, progress=tell)
    return _result(outputs.classes, made, areas)


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _check_settings(labels: Any, classifier: Any, method: str) -> None:
    if (labels is None) == (classifier is None):
        raise ConfigError(
            "give either labels to fit a classifier on (--labels), or one that was saved before "
            "(--classifier)"
        )
    if method not in METHODS:
        raise ConfigError(f"there is no classifier {method!r}; choose one of {', '.join(METHODS)}")


class _Made(NamedTuple):
    """A classifier, and what is known of it where it was fitted just now."""

    stored: StoredClassifier
    examples: Mapping[str, int] = MappingProxyType({})
    accuracy: Accuracy | None = None
    block_metres: float | None = None
    notes: tuple[str, ...] = ()


def _fit(stack: FeatureStack, labels: Labels, method: str, block: float | None) -> _Made:
    examples = gather(stack, labels)
    metres = _cell_metres(stack)
    cells = None if block is None else round(block / metres)
    validation = validate(examples, method=method, block=cells)
    accuracy = validation.accuracy
    fitted = fit_classifier(examples.vectors, examples.numbers, examples.classes, method=method)
    stored = StoredClassifier(
        classifier=fitted,
        features=stack.identity,
        colours={name: labels.colours[name] for name in examples.classes if name in labels.colours},
        accuracy=None if accuracy is None else accuracy.record(),
    )
    return _Made(
        stored,
        examples=dict(zip(examples.classes, np.bincount(examples.numbers).tolist(), strict=True)),
        accuracy=accuracy,
        block_metres=None if accuracy is None else accuracy.block * metres,
        notes=(*examples.notes, *validation.notes),
    )


def _cell_metres(stack: FeatureStack) -> float:
    """Side of a cell in the middle of the map, as of a square of its area."""
    _, height, width = stack.shape
    info = stack.info
    middle = cell_areas(info.crs, info.transform, first=height // 2, count=1, width=width)
    return float(middle[0, width // 2] ** 0.5)


def _result(output: Path, made: _Made, areas: NDArray[np.float64] | None) -> Classification:
    classes = made.stored.classifier.classes
    return Classification(
        output=output,
        classes=classes,
        areas={} if areas is None else dict(zip(classes, areas.tolist(), strict=True)),
        examples=made.examples,
        accuracy=made.accuracy,
        block_metres=made.block_metres,
        classifier=made.stored,
        notes=made.notes,
    )
