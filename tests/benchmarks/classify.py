"""`deo classify` from twenty points a class against the same classifiers on the bands themselves.

    python tests/benchmarks/classify.py DATA

DATA holds `sentinel2` (the Spanish chip of Sen1Floods11, and cities of OSCD with change masks) and
`eurosat_ms`. Of the chip and of each city, points are drawn in the left half, and the right half is
judged pixel by pixel; of EuroSAT's tiles, whose features are averaged, half of each class is
fitted on. Five draws; a table as in docs/classify.md is printed.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.warp import transform as reproject

import deo
from deo.maps.classifiers import METHODS, fit_classifier
from deo.scene.window import Window

POINTS, DRAWS = 20, 5
LAYERS = {"layer 0": (0,), "layers 0 to 3": (0, 1, 2, 3)}
EUROSAT = deo.BandSet(
    ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
)
"""Of tiles that name no bands: EuroSAT's order."""

Scores = dict[tuple[str, str], list[float]]


class Place(NamedTuple):
    """Scenes of one place, bands (channels, rows, columns), and the class of each pixel or -1."""

    name: str
    scenes: tuple[Path, ...]
    bands: NDArray[np.float32]
    truth: NDArray[np.intp]


def pixels(path: Path, **settings: Any) -> NDArray[np.float32]:
    with deo.open_scene(path, **settings) as scene:
        window = Window(row=0, col=0, height=scene.height, width=scene.width)
        return np.asarray(scene.read(window, deo.MODEL_BANDS).values, np.float32)


def flood(folder: Path) -> Place:
    chip = folder / "Spain_7370579_S2Hand.tif"
    with rasterio.open(folder / "Spain_7370579_LabelHand.tif") as file:
        return Place("flood", (chip,), pixels(chip), file.read(1).astype(np.intp))


def cities(folder: Path) -> Iterator[Place]:
    for mask in sorted(folder.glob("*_cm.tif")):
        dates = tuple(sorted(folder.glob(f"{mask.stem[:-3]}_[12]_*.tif")))
        with rasterio.open(mask) as file:
            truth = file.read(1).astype(np.intp)
        truth[truth > 1] = -1
        yield Place(mask.stem[:-3], dates, np.concatenate([pixels(date) for date in dates]), truth)


def draw(truth: NDArray[np.intp], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of points in the left half, `POINTS` of each class."""
    rng = np.random.default_rng(seed)
    left = truth[:, : truth.shape[1] // 2]
    chosen = [rng.choice(np.argwhere(left == number), POINTS, replace=False) for number in (0, 1)]
    rows, columns = np.concatenate(chosen).T
    return rows, columns


def judge(kind: str, truth: NDArray[np.intp], given: NDArray[np.intp]) -> float:
    """Of the right half: IoU of water, or the mean of the recall of both classes, in per cent."""
    half = truth.shape[1] // 2
    truth, given = truth[:, half:], given[:, half:]
    hit = (truth == 1) & (given == 1)
    if kind == "flood":
        return 100 * hit.sum() / (((truth == 1) | (given == 1)) & (truth >= 0)).sum()
    recall = [(given[truth == number] == number).mean() for number in (0, 1)]
    return 100 * float(np.mean(recall))


def by_bands(place: Place, seed: int, method: str) -> NDArray[np.intp]:
    rows, columns = draw(place.truth, seed)
    numbers = place.truth[rows, columns]
    one = fit_classifier(place.bands[:, rows, columns].T, numbers, "ab", method=method)
    shares = one.probabilities(place.bands.reshape(len(place.bands), -1).T)
    return shares.argmax(axis=1).reshape(place.truth.shape)


def points(place: Place, seed: int, path: Path) -> Path:
    """The drawn points as a GeoJSON."""
    rows, columns = draw(place.truth, seed)
    with rasterio.open(place.scenes[0]) as file:
        x, y = file.transform * (columns + 0.5, rows + 0.5)
        degrees = zip(*reproject(file.crs, "EPSG:4326", x, y), strict=True)
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": where},
            "properties": {"class": int(place.truth[row, column])},
        }
        for where, row, column in zip(degrees, rows, columns, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def by_features(
    place: Place, features: Sequence[Path], seed: int, method: str, folder: Path
) -> NDArray[np.intp]:
    labels = points(place, seed, folder / "points.geojson")
    made = deo.classify(features, folder / "map.tif", labels=labels, method=method, overwrite=True)
    with rasterio.open(made.output) as file:
        cells = file.read(1).astype(np.intp)
    height, width = place.truth.shape
    return cells.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


def score_place(kind: str, place: Place, model: str, folder: Path, scores: Scores) -> None:
    layers: list[list[Path]] = [[], [], [], []]
    for number, scene in enumerate(place.scenes):
        written = deo.extract(
            scene, folder / f"{place.name}{number}.tif", model=model, layer="all",
            contract="fixed", overwrite=True,
        )  # fmt: skip
        for layer, path in enumerate(written):
            layers[layer].append(path)
    for method in METHODS:
        for seed in range(DRAWS):
            given = {"ten bands": by_bands(place, seed, method)}
            for name, chosen in LAYERS.items():
                features = [path for layer in chosen for path in layers[layer]]
                given[name] = by_features(place, features, seed, method, folder)
            for name, map_ in given.items():
                score = judge(kind, place.truth, map_)
                scores.setdefault((method, name), []).append(score)


def score_tiles(folder: Path, model: str) -> Scores:
    """Accuracy on the other half of the tiles, whose vectors are means, in per cent."""
    paths = sorted(folder.glob("*/*.tif"))
    names = sorted({path.parent.name for path in paths})
    numbers = np.array([names.index(path.parent.name) for path in paths])
    vectors: dict[str, list[Any]] = {name: [] for name in ("ten bands", *LAYERS)}
    for path in paths:
        given = {"bands": EUROSAT, "offset": 0}
        vectors["ten bands"].append(pixels(path, **given).mean(axis=(1, 2)))
        maps = deo.extract(path, model=model, layer="all", contract="fixed", **given)
        means = [np.nanmean(one.array, axis=(1, 2)) for one in maps]
        for name, chosen in LAYERS.items():
            vectors[name].append(np.concatenate([means[layer] for layer in chosen]))
    scores: Scores = {}
    for method in METHODS:
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            fitted = np.concatenate(
                [rng.permutation(np.flatnonzero(numbers == number))[:5] for number in range(10)]
            )
            rest = np.setdiff1d(np.arange(len(paths)), fitted)
            for name, each in vectors.items():
                held = np.array(each, np.float32)
                one = fit_classifier(held[fitted], numbers[fitted], names, method=method)
                right = one.probabilities(held[rest]).argmax(axis=1) == numbers[rest]
                scores.setdefault((method, name), []).append(100 * right.mean())
    return scores


def show(title: str, scores: Scores) -> None:
    for method in METHODS:
        cells = []
        for name in ("ten bands", *LAYERS):
            each = np.reshape(scores[method, name], (-1, DRAWS)).mean(axis=0)
            cells.append(f"{each.mean():.1f} ({each.min():.1f} to {each.max():.1f})")
        print(f"| {title}, {method} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--parts", nargs="*", default=["flood", "tiles", "change"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {given.model} | ten bands | {' | '.join(LAYERS)} |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder, scenes = Path(name), given.data / "sentinel2"
        for part in given.parts:
            scores: Scores = {}
            if part == "tiles":
                show("EuroSAT, accuracy", score_tiles(given.data / "eurosat_ms", given.model))
            elif part == "flood":
                score_place(part, flood(scenes), given.model, folder, scores)
                show("flood, IoU of water", scores)
            else:
                for place in cities(scenes):
                    one: Scores = {}
                    score_place(part, place, given.model, folder, one)
                    show(place.name, one)
                    for key, each in one.items():
                        scores.setdefault(key, []).extend(each)
                show("change, mean recall", scores)


if __name__ == "__main__":
    main()
