"""What `deo classify` writes: a class map, and on request probabilities, margin and classifier."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deo.errors import OutputError
from deo.files.publish import check_folder, check_space, publish, scratch_folder, write_file
from deo.maps import class_map, cog
from deo.maps.apply import Margin, apply_classifier
from deo.maps.classifier_files import StoredClassifier
from deo.maps.metadata import MapInfo
from deo.maps.rows import Shape
from deo.maps.sinks import check_apart
from deo.maps.stack import FeatureStack

_TIFF = (".tif", ".tiff")
_CLASSIFIER = (".safetensors",)


@dataclass(frozen=True, kw_only=True)
class ClassOutputs:
    """The files that are to be written.

    Raises:
        OutputError: one cannot be written, or two have one name.
    """

    classes: Path
    probabilities: Path | None = None
    margin: Path | None = None
    classifier: Path | None = None

    def __post_init__(self) -> None:
        for path in self.all:
            suffixes = _CLASSIFIER if path == self.classifier else _TIFF
            if path.suffix.lower() not in suffixes:
                what = "a classifier" if path == self.classifier else "a map"
                raise OutputError(f"cannot write {path}: {what} is named *{suffixes[0]}")
            check_folder(path)
        if len({path.resolve() for path in self.all}) < len(self.all):
            raise OutputError(f"two outputs have one name: {', '.join(map(str, self.all))}")

    @property
    def all(self) -> list[Path]:
        """The class map last: where it is, all of them are."""
        maybe = (self.probabilities, self.margin, self.classifier, self.classes)
        return [path for path in maybe if path is not None]

    def check(self, read: Sequence[str | os.PathLike[str]], *, overwrite: bool) -> None:
        """Refuse to replace what is being read, or what is there and not to be replaced.

        Raises:
            OutputError: that would happen.
        """
        check_apart(self.all, read)
        for path in self.all:
            if path.exists() and not overwrite:
                raise OutputError(f"{path} exists; use --overwrite (overwrite=True) to replace it")


def write_classes(
    stack: FeatureStack,
    stored: StoredClassifier,
    outputs: ClassOutputs,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64] | None:
    """Classify a map, and write what is asked for; each file appears whole.

    Returns:
        Square metres of each class, (classes,); None where the map has no position on the Earth.

    Raises:
        OutputError: the disk refuses.
    """
    classifier = stored.classifier
    shape = stack.shape._replace(channels=len(classifier.classes))
    _check_room(outputs, shape)
    with contextlib.ExitStack() as folders:
        finished = {
            path: folders.enter_context(scratch_folder(path.parent)) / path.name
            for path in outputs.all
        }
        folder = finished[outputs.classes].parent
        rows, areas = apply_classifier(stack, classifier, folder / ".rows", progress=progress)
        info = _describe(stack, stored, areas)
        for path, new in finished.items():
            scratch = new.with_name(f".{new.name}")
            if path == outputs.classes:
                class_map.write_class_map(rows, info, new, scratch, chosen=stored.colours)
            elif path == outputs.probabilities:
                cog.write_cog(rows, _holding(info, "probabilities"), new, scratch)
            elif path == outputs.margin:
                margin = replace(_holding(info, "margin"), names=("margin",))
                cog.write_cog(Margin(rows), margin, new, scratch)
            else:
                write_file(new, stored.content())
        for path, new in finished.items():
            publish(new, path)
    return areas


def _check_room(outputs: ClassOutputs, shape: Shape) -> None:
    """Refuse to begin what the disk has no room for."""
    written = [class_map.room(shape)]
    if outputs.probabilities is not None:
        written.append(cog.room(shape, "float32"))
    if outputs.margin is not None:
        written.append(cog.room(shape._replace(channels=1), "float32"))
    most = max(each.scratch for each in written) + sum(each.output for each in written)
    check_space(outputs.classes, shape.bytes + most)


def _describe(
    stack: FeatureStack, stored: StoredClassifier, areas: NDArray[np.float64] | None
) -> MapInfo:
    """What the class map says of itself."""
    classifier = stored.classifier
    facts = {
        "VERSION": version("deo"),
        "HOLDS": "classes",
        "SOURCE": json.dumps([one.info.source for one in stack.maps]),
        "FEATURES": json.dumps(stack.identity, sort_keys=True),
        "CLASSIFIER": json.dumps({"method": classifier.method, "sha256": stored.digest}),
    }
    if stored.accuracy is not None:
        facts["ACCURACY"] = json.dumps(stored.accuracy, sort_keys=True)
    if areas is not None:
        square_metres = np.rint(areas).astype(int).tolist()
        facts["AREA_M2"] = json.dumps(dict(zip(classifier.classes, square_metres, strict=True)))
    return replace(
        stack.info,
        dtype="float32",
        tags={f"DEO_{name}": value for name, value in facts.items()},
        names=classifier.classes,
    )


def _holding(info: MapInfo, what: str) -> MapInfo:
    return replace(info, tags={**info.tags, "DEO_HOLDS": what})
