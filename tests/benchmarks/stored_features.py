"""What int8 and principal components cost: neighbours and a probe, against float32.

    python tests/benchmarks/stored_features.py EUROSAT_FOLDER SCENE...

EUROSAT_FOLDER holds a folder of tiles for each class; a tile's vector is the mean of its cells, as
in a .parquet. Of the scenes every cell is a vector, as in a .tif. Neighbours are by cosine.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import deo
from deo.layers import feature_model
from deo.maps.quantise import scales_of, to_int8
from deo.scene.window import Window

Vectors = NDArray[np.float32]
EUROSAT = deo.BandSet(
    ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
)
"""Of tiles that name no bands: EuroSAT's order."""


def cells(path: Path, model: Any, bands: deo.BandSet | None = None) -> Vectors:
    """Features of the model's last layer for a whole small raster, (cells, channels)."""
    with deo.open_scene(path, bands=bands, offset=0) as scene:
        contract = deo.fit_contract("s2", bands=deo.MODEL_BANDS)
        height, width = (side // 32 * 32 for side in (scene.height, scene.width))
        pixels = scene.read(Window(row=0, col=0, height=height, width=width),
                            deo.MODEL_BANDS)  # fmt: skip
    with torch.inference_mode():
        features = model.call(torch.from_numpy(contract.apply(pixels))[None])[-1][0]
    return features.flatten(1).T.numpy()


def neighbours(vectors: Vectors, queries: NDArray[np.int64], *, cosine: bool) -> NDArray[np.int64]:
    """The ten nearest by cosine or by distance, each query left out."""
    squares = (vectors**2).sum(axis=1)
    likeness = vectors[queries] @ vectors.T
    likeness = likeness / np.sqrt(squares) if cosine else 2 * likeness - squares
    likeness[np.arange(len(queries)), queries] = -np.inf
    return np.argsort(-likeness, axis=1, kind="stable")[:, :10]


def recall(vectors: Vectors, full: Vectors, queries: NDArray[np.int64], *, cosine: bool) -> float:
    """Share of the full vectors' neighbours among those of `vectors`."""
    pairs = (neighbours(each, queries, cosine=cosine) for each in (vectors, full))
    shares = [len(np.intersect1d(*pair)) / 10 for pair in zip(*pairs, strict=True)]
    return float(np.mean(shares))


def quantised(vectors: Vectors) -> Vectors:
    scales = scales_of(vectors)
    return to_int8(vectors, scales) * scales


def reduced(vectors: Vectors, count: int) -> Vectors:
    mean = vectors.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((vectors - mean).T))
    return ((vectors - mean) @ axes[:, ::-1][:, :count]).astype(np.float32)


def accuracy(vectors: Vectors, labels: NDArray[np.int64]) -> float:
    """Logistic regression, fitted on two thirds and tested on the rest, mean of five splits."""
    scores = []
    centred = vectors - vectors.mean(axis=0)
    scaled = centred / centred.std()  # one scale for all: components of little variance stay small
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(labels))
        train, test = order[: len(order) * 2 // 3], order[len(order) * 2 // 3 :]
        probe = LogisticRegression(max_iter=2000).fit(scaled[train], labels[train])
        scores.append(probe.score(scaled[test], labels[test]))
    return float(np.mean(scores))


def show(title: str, full: Vectors, labels: NDArray[np.int64] | None = None) -> None:
    queries = np.random.default_rng(0).choice(len(full), min(1000, len(full)), replace=False)
    centred = full - full.mean(axis=0)
    print(f"{title}: {len(full)} vectors of {full.shape[1]}, {len(queries)} queries")
    print("  width, type, bytes: recall@10 by cosine, by cosine of centred features, by distance")
    for width in (full.shape[1], 64, 16):
        vectors = full if width == full.shape[1] else reduced(full, width)
        for kind, stored in (("float32", vectors), ("int8", quantised(vectors))):
            at_mean = stored - stored.mean(axis=0)
            numbers = (
                recall(stored, full, queries, cosine=True),
                recall(at_mean, centred, queries, cosine=True),
                recall(stored, full, queries, cosine=False),
            )
            size = width * (4 if kind == "float32" else 1)
            probe = "" if labels is None else f", probe {accuracy(stored, labels):.3f}"
            shown = " ".join(f"{number:.3f}" for number in numbers)
            print(f"  {width:4d} {kind:8s} {size:4d}: {shown}{probe}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("scenes", type=Path, nargs="*")
    parser.add_argument("--model", default="deo_swin_n")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = feature_model(given.model).model
    paths = sorted(given.tiles.glob("*/*.tif"))
    names = sorted({path.parent.name for path in paths})
    vectors = np.stack([cells(path, model, EUROSAT).mean(axis=0) for path in paths])
    show("tiles", vectors, np.array([names.index(path.parent.name) for path in paths]))
    if given.scenes:
        show("cells", np.concatenate([cells(path, model) for path in given.scenes]))


if __name__ == "__main__":
    main()
