"""Share of the step time that the `micro` recipe waits for data, for 0, 1 and 2 readers.

    python tests/benchmarks/data_wait.py [--data SHARDS] [--steps 60]

Without --data, 256 samples of 10 x 96 x 96 are made up. The first steps, in which the readers
start, are not counted.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from deo.training import settings
from deo.training.data.shards import write_shards
from deo.training.recipes import recipe
from deo.training.run.pretraining import pretrain


def waits(data: Path, *, workers: int, steps: int, every: int = 10) -> list[dict[str, float]]:
    config = settings.override(
        recipe("micro"),
        [
            f'data.source="{data}"',
            f"run.steps={steps}",
            f"run.workers={workers}",
            f"run.log_every={every}",
            f"run.checkpoint_every={steps}",
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        pretrain(config, output=Path(folder), progress=False)
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data is None:
            rng = np.random.default_rng(0)
            samples = rng.integers(0, 9000, (256, 10, 96, 96), dtype=np.uint16)
            write_shards(folder, list(samples))
        data = arguments.data or Path(folder)
        print(f"{'workers':>8s}{'step, s':>10s}{'waiting':>10s}")
        for workers in (0, 1, 2):
            records = waits(data, workers=workers, steps=arguments.steps)
            share = np.mean([record["wait_share"] for record in records])
            seconds = np.mean([record["step_seconds"] for record in records])
            print(f"{workers:8d}{seconds:10.3f}{share:10.2%}")


if __name__ == "__main__":
    main()
