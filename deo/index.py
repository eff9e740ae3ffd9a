"""Neighbours over any number of feature files: `deo.index.build` and `deo.index.similar`."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.api import extract
from deo.contracts import Contract
from deo.errors import ConfigError, DataError
from deo.maps.neighbours import (
    COMPARED,
    Built,
    FeatureIndex,
    Neighbour,
    build_index,
    mean_vector,
)
from deo.maps.readback import open_features
from deo.maps.sinks import SUFFIXES, feature_sink
from deo.scene.earth import Place

__all__ = ["Built", "FeatureIndex", "Neighbour", "build", "similar"]


def build(features: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Built:
    """Index every vector of feature files, so that neighbours are found without reading them.

    Args:
        features: files that `deo.extract` wrote, of one model, weights, layer and components: every
            cell of a `.tif` or `.zarr`, every chip of a `.parquet`.
        output: a folder, which is made.

    Returns:
        How much was indexed, and the recall of searches.

    Raises:
        DeoError: one of its children says what was wrong and what to do.
    """
    paths = [Path(path) for path in features]
    if not paths:
        raise ConfigError("there are no features to index; name files that deo extract wrote")
    return build_index(paths, Path(output))


def similar(
    index: str | os.PathLike[str],
    *,
    at: tuple[float, float] | None = None,
    like: str | os.PathLike[str] | None = None,
    count: int = 10,
) -> list[Neighbour]:
    """The cells and chips of an index that resemble a place or an image most, by cosine.

    Args:
        at: longitude and latitude of a place in one of the indexed files.
        like: features that `deo.extract` wrote, or an image of which they are then extracted, with
            the model, the layer and the kind of contract of the index; their mean is compared.
        count: how many, the most similar first.

    Raises:
        ConfigError: not one of `at` and `like` is given, or `count` is below 1.
        DeoError: one of its children says what was wrong and what to do.
    """
    if (at is None) == (like is None):
        raise ConfigError("say what to look for: either a place (at=) or an image (like=)")
    if count < 1:
        raise ConfigError(f"count {count} is below 1")
    opened = FeatureIndex(Path(index))
    vector = opened.vector(Place(*at)) if at is not None else _mean(opened.tags, Path(like or ""))
    return opened.near(vector, count)


def _mean(tags: dict[str, str], like: Path) -> NDArray[np.float32]:
    """The mean vector of an image, as the index holds them."""
    if like.suffix.lower() in SUFFIXES and feature_sink(like).read_tags(like) is not None:
        return _comparable(tags, like)
    if "DEO_COMPONENTS" in tags:
        raise ConfigError(
            f"the index holds components; give --like the output of `deo extract {like.name} "
            "--components RECORD`, with the record that the indexed files were made with"
        )
    contract = Contract.from_record(json.loads(tags["DEO_CONTRACT"]))
    numbers: dict[str, Any] = (
        {"mean": contract.mean, "std": contract.std} if contract.name == "stats" else {}
    )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "like.tif"
        extract(
            like,
            output,
            model=tags["DEO_MODEL"],
            untrained=tags["DEO_WEIGHTS"] == "untrained",
            layer=int(tags["DEO_LAYER"]),
            contract=contract.name,
            **numbers,
        )
        return _comparable(tags, output)


def _comparable(tags: dict[str, str], like: Path) -> NDArray[np.float32]:
    with open_features(like) as finished:
        for name in COMPARED:
            if finished.info.tags.get(name) != tags.get(name):
                raise DataError(
                    f"{like.name} cannot be compared with the index ({name}: {tags.get(name)!r} "
                    f"-> {finished.info.tags.get(name)!r}); extract its features with the same "
                    "settings and give those to --like"
                )
        return mean_vector(finished)
