"""Judge trained `deo_swin_n` weights, their random twin and two baselines, and write the card.

    python tests/benchmarks/embedded_model.py EUROSAT_DIR FLOOD_DIR RUN... --card CARD.json

Each RUN is a folder made by `examples/train_embedded.py`; the first one's weights are the
card's. The protocols are those of `deo evaluate`: nearest neighbours (k = 5, leave one out, L2),
logistic probe (five folds, drawn five times), and a logistic probe per pixel (left half trains,
right half tests).
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

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
    first = arguments.runs[0]
    card = json.loads(arguments.card.read_text()) if arguments.card.exists() else {}
    card["sha256"] = hashlib.sha256((first / "deo_swin_n.safetensors").read_bytes()).hexdigest()
    card["evaluation"] = results
    card["curves"] = curves(first)
    arguments.card.write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
