"""Neighbours over many files of features: an index of all their vectors, and where each lies.

An index is a folder: `vectors.usearch`, a graph of USearch's (HNSW) that is read as it is needed,
and `index.json`, which says what was indexed. A key is a file's number, a row and a column.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from deo.errors import DataError, OutputError, SceneError, require
from deo.files.documents import load_json
from deo.files.publish import check_folder, check_space, disk_errors, publish, scratch_folder
from deo.files.records import differences
from deo.maps.metadata import MapInfo
from deo.maps.readback import Finished, open_features
from deo.scene.earth import Ground, Place, parse_place

_EXTRA = "index"
_KIND = "deo index"
_VECTORS, _RECORD = "vectors.usearch", "index.json"
_SIDE_BITS = 20  # of a row or a column: a Sentinel-2 tile in pixels takes 14
COMPARED = ("DEO_MODEL", "DEO_WEIGHTS_SHA256", "DEO_LAYER", "DEO_COMPONENTS")
_QUERIES = 200  # to measure the recall of an index by
_BYTES_PER_VECTOR = 160  # of the graph


class Neighbour(NamedTuple):
    """A vector of an index that resembles another, and the middle of its cell or chip."""

    similarity: float
    place: Place
    file: str
    row: int
    col: int


class Built(NamedTuple):
    """What became an index.

    Args:
        recall: share of the ten nearest that a search finds, measured on vectors of the index.
        contracts: how many different contracts the features were made under; vectors of different
            ones can be compared only roughly.
    """

    files: int
    vectors: int
    recall: float
    contracts: int


def build_index(features: Sequence[Path], output: Path) -> Built:
    """Index every vector of files that `deo extract` wrote, as the new folder `output`.

    All vectors are held in memory meanwhile, in 16 bits a number.

    Raises:
        SceneError: a file is none of features, or damaged.
        OutputError: `output` exists, or cannot be written.
        DataError: files hold features of different models, layers or components.
        MissingExtraError: the extra `index` is not installed.
    """
    usearch = require("usearch.index", extra=_EXTRA)
    if output.exists():
        raise OutputError(f"{output} exists; give the index another name, or delete it")
    check_folder(output)
    index: Any = None
    files, tags = [], [_tags(path) for path in features]
    _refuse_mixture(features, tags)
    for number, path in enumerate(features):
        with open_features(path) as finished:
            files.append({"path": str(path), **_grid(finished.info)})
            channels = finished.rows.shape.channels
            if index is None:
                index = usearch.Index(ndim=channels, metric="cos", dtype="f16")
            for keys, vectors in _vectors(finished, number):
                index.add(keys, vectors)
    recall = _recall(index)
    record = {"kind": _KIND, "tags": tags[0], "files": files, "recall@10": recall}
    _write(index, record, output)
    contracts = {each.get("DEO_CONTRACT") for each in tags}
    return Built(len(files), len(index), recall, len(contracts))


class FeatureIndex:
    """An index that was built before; its vectors stay on disk until a search needs them.

    Raises:
        DataError: the folder holds no index.
        MissingExtraError: the extra `index` is not installed.
    """

    def __init__(self, path: Path) -> None:
        usearch = require("usearch.index", extra=_EXTRA)
        try:
            self._record = load_json(path / _RECORD)
            if self._record["kind"] != _KIND:
                raise ValueError(f"it is of kind {self._record['kind']!r}")
            self.tags: dict[str, str] = self._record["tags"]
            self._files: list[dict[str, Any]] = self._record["files"]
            self._index = usearch.Index.restore(path / _VECTORS, view=True)
            if self._index is None:
                raise ValueError(f"{_VECTORS} cannot be read")
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, DataError) as error:
            raise DataError(
                f"{path} is no index, such as `deo index FEATURES -o {path}` builds ({error})"
            ) from error

    def __len__(self) -> int:
        return len(self._index)

    def vector(self, place: Place) -> NDArray[np.float32]:
        """The features at a place, of the first file that holds any there.

        Raises:
            SceneError: none does.
        """
        place = parse_place(*place)
        for number, file in enumerate(self._files):
            for col, row in _ground(file).find(place):
                inside = 0 <= row < file["height"] and 0 <= col < file["width"]
                key = _keys(number, int(row), np.array([int(col)])) if inside else None
                if key is not None and int(key[0]) in self._index:
                    vector: NDArray[np.float32] = self._index.get(int(key[0])).astype(np.float32)
                    return vector
        raise SceneError(
            f"none of the {len(self._files)} files of the index holds features at "
            f"{place.longitude:g},{place.latitude:g}; choose another place"
        )

    def near(self, vector: NDArray[np.float32], count: int = 10) -> list[Neighbour]:
        """The vectors that resemble one most, by cosine, the most similar first.

        Raises:
            DataError: the vector is of another length.
        """
        if vector.shape != (self._index.ndim,):
            raise DataError(
                f"the index holds vectors of {self._index.ndim} numbers, got {vector.shape}"
            )
        matches = self._index.search(vector, count)
        return [
            self._neighbour(int(key), 1 - float(distance))
            for key, distance in zip(matches.keys, matches.distances, strict=True)
        ]

    def _neighbour(self, key: int, similarity: float) -> Neighbour:
        last = (1 << _SIDE_BITS) - 1
        number, row, col = key >> 2 * _SIDE_BITS, key >> _SIDE_BITS & last, key & last
        file = self._files[number]
        middle = _ground(file).degrees(np.array([col + 0.5]), np.array([row + 0.5]))
        place = Place(float(middle.longitude[0]), float(middle.latitude[0]))
        return Neighbour(similarity, place, file["path"], row, col)


def mean_vector(finished: Finished) -> NDArray[np.float32]:
    """The mean of all vectors of a file, (channels,).

    Raises:
        SceneError: it holds none.
    """
    total, number = np.zeros(finished.rows.shape.channels), 0
    for _, vectors in _vectors(finished, 0):
        total += vectors.sum(axis=0, dtype=np.float64)
        number += len(vectors)
    if not number:
        raise SceneError(f"{finished.info.source} holds no features: all of it is nodata")
    return (total / number).astype(np.float32)


def _tags(path: Path) -> dict[str, str]:
    with open_features(path) as finished:
        return dict(finished.info.tags)


def _refuse_mixture(paths: Sequence[Path], tags: Sequence[dict[str, str]]) -> None:
    first = {name: tags[0].get(name) for name in COMPARED}
    for path, each in zip(paths, tags, strict=True):
        if different := differences(first, {name: each.get(name) for name in COMPARED}):
            raise DataError(
                f"{path} cannot be compared with {paths[0]} ({'; '.join(map(str, different))}); "
                "index them apart"
            )
    if len(tags) > 1 and "fitted on this map" in (first["DEO_COMPONENTS"] or ""):
        raise DataError(
            "the components of these files were fitted on each of them, so that they cannot be "
            "compared; extract them anew with --components and the record of one"
        )


def _grid(info: MapInfo) -> dict[str, Any]:
    grid = json.loads(info.tags["DEO_GRID"])
    return {
        "crs": grid["crs"],
        "transform": list(info.transform)[:6],
        "height": -(-grid["height"] // info.stride),
        "width": -(-grid["width"] // info.stride),
    }


def _ground(file: dict[str, Any]) -> Ground:
    crs = None if file["crs"] is None else CRS.from_string(file["crs"])
    return Ground(name=file["path"], crs=crs, transform=Affine(*file["transform"]))


def _vectors(
    finished: Finished, number: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
    """Keys and vectors of the valid cells, some rows at a time."""
    for start, block in finished.rows.blocks():
        for offset, features in enumerate(block):
            valid = np.flatnonzero(np.isfinite(features[0]) & features.any(axis=0))
            yield _keys(number, start + offset, valid), np.ascontiguousarray(features.T[valid])


def _keys(number: int, row: int, cols: NDArray[np.int64]) -> NDArray[np.uint64]:
    return (number << 2 * _SIDE_BITS | row << _SIDE_BITS) + cols.astype(np.uint64)


def _recall(index: Any) -> float:
    """Of the ten nearest neighbours of some of its vectors, by comparing with all of them."""
    if len(index) < 2:
        return 1.0
    keys = index.keys[:][:: max(1, len(index) // _QUERIES)][:_QUERIES]
    vectors = np.array(index.get(keys), np.float32)
    count = min(11, len(index))  # the vector itself is one
    searched, all_compared = (index.search(vectors, count, exact=exact) for exact in (False, True))
    pairs = zip(searched.keys, all_compared.keys, strict=True)
    return float(np.mean([(len(np.intersect1d(*pair)) - 1) / (count - 1) for pair in pairs]))


def _write(index: Any, record: dict[str, Any], output: Path) -> None:
    check_space(output, len(index) * (2 * index.ndim + _BYTES_PER_VECTOR))
    with disk_errors(output), scratch_folder(output.parent) as scratch:
        folder = scratch / output.name
        folder.mkdir()
        index.save(os.fspath(folder / _VECTORS))
        (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n")
        publish(folder, output)
