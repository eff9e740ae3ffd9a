"""The table of docs/evaluation.md: real tiles, a flooded chip, seven cities; three seeds.

    python tests/benchmarks/downstream.py DATA --output results
    python tests/benchmarks/downstream.py DATA --output results --only untrained

DATA holds `eurosat_ms/` and `sentinel2/` (Sen1Floods11's Spain chip; OSCD's cities, one file per
date). Every result is a JSON file in the output folder; those that are there are not measured
again, so a stopped run goes on. Change detection fine-tunes with the defaults on six cities (no
validation part, nothing chosen on the seventh) and is most of the time: some minutes a run on two
cores.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.evaluate import measure
from deo.training.tasks.protocols import Evaluation
from deo.training.tasks.results import markdown, read_json, write_json

SEEDS = (0, 1, 2)
TESTED = "rennes"  # chosen before anything was run: the last in order of name
FOLDERS = {"eurosat-ms": "eurosat_ms", "sen1floods11": "sentinel2", "oscd": "sentinel2"}


def requests(data: Path, model: str, weights: Path | None) -> Iterator[tuple[str, Evaluation]]:
    """File name and request of every row of the table."""
    twins: dict[str, dict[str, Any]] = {
        "untrained": {"model": model, "untrained": True},
        "trained": {"model": model, "weights": weights},
    }
    rows: list[tuple[str, str, str, dict[str, Any]]] = [
        ("", "knn", "eurosat-ms", {}),
        ("_all-layers", "knn", "eurosat-ms", {"layers": None}),
        ("", "probe", "eurosat-ms", {}),
        ("_all-layers", "pixels", "sen1floods11", {"layers": None}),
        ("_finest", "pixels", "sen1floods11", {"layers": (0,)}),
        ("_finest-x4", "pixels", "sen1floods11", {"layers": (0,), "size": 2048}),
        ("", "change", "oscd", {"test": (TESTED,)}),
    ]
    baselines = {"eurosat-ms": "band-statistics", "sen1floods11": "raw-bands", "oscd": "raw-bands"}
    for variant, protocol, dataset, settings in rows:
        stem = f"{dataset}_{protocol}{variant}"
        common = {
            "protocol": protocol,
            "benchmark": benchmark(dataset),
            "data": data / FOLDERS[dataset],
        }
        if not variant or variant == "_finest":
            yield f"{stem}_baseline", Evaluation(**common, **settings, model=baselines[dataset])
        for twin, chosen in twins.items():
            drawn = twin == "untrained" or protocol in ("probe", "change")
            seeds = SEEDS if drawn else SEEDS[:1]
            yield f"{stem}_{twin}", Evaluation(**common, **settings, **chosen, seeds=seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--only", choices=["baseline", "untrained", "trained"])
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.output.mkdir(exist_ok=True)
    for name, request in requests(chosen.data, chosen.model, chosen.weights):
        path = chosen.output / f"{name}.json"
        if path.exists() or (chosen.only and not name.endswith(f"_{chosen.only}")):
            continue
        result = measure(request)
        write_json(result, path)
        print(f"{name}: {result.scores} in {result.seconds:.0f} s", flush=True)
    records = [read_json(path) for path in sorted(chosen.output.glob("*.json"))]
    print(markdown(records))
    print("| row | scores | per seed |\n|---|---|---|")
    for path, record in zip(sorted(chosen.output.glob("*.json")), records, strict=True):
        scores = ", ".join(f"{key} {value:.1f}" for key, value in record["scores"].items())
        per_seed = ", ".join(f"{value:.1f}" for value in record["per_seed"])
        print(f"| {path.stem} | {scores} | {per_seed} |")


if __name__ == "__main__":
    main()
