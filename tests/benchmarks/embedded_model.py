"""Judge trained `deo_swin_n` weights, their random twin and two baselines, and write the card.

    python tests/benchmarks/embedded_model.py EUROSAT_DIR FLOOD_DIR RUN... --card CARD.json

Each RUN is a folder made by `examples/train_embedded.py`; the first one's weights are the
card's. The protocols are those of `deo evaluate`: nearest neighbours (k = 5, leave one out, L2),
logistic probe (five folds, drawn five times), and a logistic probe per pixel (left half trains,
right half tests). Two more stand here: flood mapping from 20 pixels a class, and how far the two
stems agree. Change detection is measured by `downstream.py`.
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.contracts import fit_contract
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.features import BandFeatures, FeatureSource, NetworkFeatures
from deo.training.tasks.inputs import pixels_of
from deo.training.tasks.knn import l2
from deo.training.tasks.probes import logistic_probe

FEW = 20
SAMPLED_STEPS = 40
TASKS: dict[str, list[str]] = {
    "knn": ["knn", "--dataset", "eurosat-ms"],
    "probe": ["probe", "--dataset", "eurosat-ms", "--seeds", "0,1,2,3,4"],
    "flood": ["pixels", "--dataset", "sen1floods11"],
}
EXTRA: dict[str, list[str]] = {"flood": ["--layers", "0", "--size", "2048"]}
"""Of networks. Flood: the finest map of the chip enlarged four times, one patch per pixel."""
BASELINES = {"knn": "band-statistics", "probe": "band-statistics", "flood": "raw-bands"}
TWINS = ["--untrained", "--seeds", "0,1,2,3,4"]


def evaluate(task: str, folders: dict[str, Path], *options: str) -> dict[str, Any]:
    """One line of `deo evaluate`, as its JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = ["deo", "evaluate", *TASKS[task], "--data", str(folders[task]), *options]
        subprocess.run([*command, "--json", str(path)], check=True, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(path.read_text())
    return result


def curves(run: Path) -> list[dict[str, float]]:
    """Some of the steps of a run's second stage."""
    names = ("step", "loss", "comp", "expa", "cls", "patch", "effective_rank", "head_cosine")
    records = [json.loads(line) for line in (run / "dual" / "metrics.jsonl").open()]
    records = [record for record in records if "loss" in record]
    kept = records[:: max(1, len(records) // SAMPLED_STEPS)]
    return [{name: round(record[name], 4) for name in names if name in record} for record in kept]


def few_shot(flood: Path, weights: Path | None) -> list[float]:
    """IoU of water in percent, of five draws: a logistic regression on 20 pixels a class.

    Features are the finest map of the chip enlarged four times, so that a pixel fills a patch; or
    the ten raw bands. All pixels but those drawn are scored.
    """
    data = benchmark("sen1floods11")
    (split,) = data.open(flood, bands=MODEL_BANDS).values()
    sample = split[0]
    source: FeatureSource = BandFeatures(bands=MODEL_BANDS)
    if weights is not None:
        model = open_backbone("deo_swin_n", weights=weights).model
        contract = fit_contract("pretrain", bands=MODEL_BANDS)
        source = NetworkFeatures(model=model, contract=contract, layers=(0,), size=2048)
    features = source.per_pixel(pixels_of(sample, data.unit))
    rows, truth = features.reshape(len(features), -1).T, sample.target.ravel()
    scores = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        drawn = [rng.choice(np.flatnonzero(truth == c), FEW, replace=False) for c in (0, 1)]
        train = np.concatenate(drawn)
        said = logistic_probe(rows[train], truth[train]).predict(rows) == 1
        scored = truth >= 0
        scored[train] = False
        water = truth == 1
        both, either = (said & water & scored).sum(), ((said | water) & scored).sum()
        scores.append(round(100 * float(both / either), 1))
    return scores


def stems(tiles: Path, weights: Path) -> dict[str, float]:
    """How far the two stems agree about tiles: percent, and cosines of the pooled last stage.

    `cosine` is the mean over tiles of the two stems' features, `centred` that of their deviations
    from the multispectral mean, `cross_knn` the accuracy where red, green and blue ask and all ten
    bands are the index, without the tile itself.
    """
    data = benchmark("eurosat-ms")
    part = data.open(tiles, bands=MODEL_BANDS)["all"]
    labels = np.stack([part[index].target for index in range(len(part))])
    features = {}
    for bands in (MODEL_BANDS, RGB_BANDS):
        part = data.open(tiles, bands=bands)["all"]
        source = NetworkFeatures(
            model=open_backbone("deo_swin_n", weights=weights, bands=bands).model,
            contract=fit_contract("pretrain", bands=bands),
        )
        chips = [pixels_of(part[index], data.unit) for index in range(len(part))]
        features[len(bands)] = source.pooled(chips)
    ms, rgb_features = features[len(MODEL_BANDS)], features[len(RGB_BANDS)]
    near = l2(rgb_features, ms)
    np.fill_diagonal(near, -np.inf)
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :5]
    said = [majority(labels[row]) for row in nearest]
    return {
        "cosine": mean_cosine(ms, rgb_features),
        "centred": mean_cosine(ms - ms.mean(0), rgb_features - ms.mean(0)),
        "cross_knn": 100 * float(np.mean(np.array(said) == labels)),
    }


def majority(labels: NDArray[np.int64]) -> int:
    """The most frequent label; of several the nearest's, which stands first."""
    counts = np.bincount(labels)
    return int(next(label for label in labels if counts[label] == counts.max()))


def mean_cosine(these: NDArray[np.float32], those: NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(these, axis=1) * np.linalg.norm(those, axis=1)
    return round(float(((these * those).sum(1) / lengths).mean()), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eurosat", type=Path)
    parser.add_argument("flood", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--card", type=Path, required=True)
    arguments = parser.parse_args()
    folders = {"knn": arguments.eurosat, "probe": arguments.eurosat, "flood": arguments.flood}
    results: dict[str, Any] = {}
    for task in TASKS:
        extra = EXTRA.get(task, [])
        results[task] = {
            "trained": [
                evaluate(task, folders, "--weights", str(run / "deo_swin_n.safetensors"), *extra)
                for run in arguments.runs
            ],
            "untrained": evaluate(task, folders, *TWINS, *extra),
            BASELINES[task]: evaluate(task, folders, "--model", BASELINES[task]),
        }
        print(task, json.dumps(results[task], indent=1), flush=True)
    weights = [run / "deo_swin_n.safetensors" for run in arguments.runs]
    results["few_shot"] = {
        "trained": [few_shot(arguments.flood, path) for path in weights],
        "raw-bands": few_shot(arguments.flood, None),
    }
    results["stems"] = [stems(arguments.eurosat, path) for path in weights]
    first = arguments.runs[0]
    card = json.loads(arguments.card.read_text()) if arguments.card.exists() else {}
    card["sha256"] = hashlib.sha256((first / "deo_swin_n.safetensors").read_bytes()).hexdigest()
    card["evaluation"] = results
    card["curves"] = curves(first)
    arguments.card.write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
