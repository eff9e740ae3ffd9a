"""Judge a backbone by the criteria of the embedded model: kNN, probe and flood on real data.

    python tests/benchmarks/judge.py DATA deo_swin_n --weights FILE
    python tests/benchmarks/judge.py DATA deo_swin_n --untrained --seed 1

DATA holds `eurosat_ms/` and the Sen1Floods11 chip in `sentinel2/`. From Python, on a model in
memory: `judge(NetworkFeatures(model=..., contract=..., layers=(-1,)), DATA)`.
"""

import argparse
import json
from pathlib import Path

from deo.bands import MODEL_BANDS
from deo.training.backbones import open_backbone
from deo.training.benchmarks import benchmark
from deo.training.evaluate import evaluate_knn, evaluate_pixels, evaluate_probe
from deo.training.features import BandFeatures, FeatureSource, NetworkFeatures
from deo.training.inputs import choose_contract
from deo.training.layouts import Unit
from deo.training.scores import STATISTICS, bootstrap


def judge(source: FeatureSource, data: Path, *, seed: int = 0) -> dict[str, float]:
    """Accuracies of kNN (k = 5, leave one out) and of the 5-fold probe; IoU of flood pixels."""
    tiles, flood = benchmark("eurosat-ms"), benchmark("sen1floods11")
    chips = tiles.open(data / "eurosat_ms", bands=source.bands)
    scenes = flood.open(data / "sentinel2", bands=source.bands)
    measured = {
        "knn_l2": evaluate_knn(source, tiles, chips),
        "knn_cosine": evaluate_knn(source, tiles, chips, metric="cosine"),
        "probe": evaluate_probe(source, tiles, chips, seed=seed),
        "flood_iou": evaluate_pixels(source, flood, scenes, seed=seed),
    }
    found = {}
    for name, outcome in measured.items():
        statistic = STATISTICS["iou" if name == "flood_iou" else "accuracy"]
        found[name] = round(100 * bootstrap(outcome.matrices, statistic).value, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", help="a timm model, or band-statistics")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", default="-1", help="comma-separated, e.g. 0,1,2,3")
    chosen = parser.parse_args()
    source: FeatureSource = BandFeatures(bands=MODEL_BANDS)
    if chosen.model != "band-statistics":
        loaded = open_backbone(
            chosen.model,
            weights=chosen.weights,
            untrained=chosen.untrained,
            seed=chosen.seed,
        )
        source = NetworkFeatures(
            model=loaded.model,
            contract=choose_contract(
                None, bands=MODEL_BANDS, unit=Unit.DN, stored=loaded.weights.contract
            ),
            layers=tuple(int(layer) for layer in chosen.layers.split(",")),
        )
    print(json.dumps(judge(source, chosen.data, seed=chosen.seed)))


if __name__ == "__main__":
    main()
