"""A torchgeo trainer on a DEO backbone.

    python examples/torchgeo_trainer.py SEN1FLOODS11_FOLDER --model deo_swin_n

Needs: pip install torchgeo
"""

import argparse
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from torch.utils.data import DataLoader, Dataset
from torchgeo.trainers import SemanticSegmentationTask

import deo
from deo.contracts import fit_contract
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.patches import Examples


class Floods(Dataset[dict[str, Any]]):
    """Sen1Floods11 as torchgeo's dictionaries of `image` and `mask`."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        data = benchmark("sen1floods11")
        splits = data.open(folder, bands=deo.MODEL_BANDS)
        contract = fit_contract("pretrain", bands=deo.MODEL_BANDS)
        chosen = splits.get(split, next(iter(splits.values())))
        self.examples = Examples(split=chosen, unit=data.unit, contract=contract)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, mask = self.examples[index]
        return {"image": image, "mask": mask}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--steps", type=int, default=100)
    chosen = parser.parse_args()
    task = SemanticSegmentationTask(
        model="upernet", backbone=f"tu-{chosen.model}", weights=None if chosen.untrained else True,
        in_channels=10, task="multiclass", num_classes=2, loss="ce", ignore_index=-1, lr=3e-4,
    )  # fmt: skip
    trainer = lightning.Trainer(max_steps=chosen.steps, accelerator="auto", logger=False)
    train = DataLoader(Floods(chosen.data), batch_size=2, shuffle=True, drop_last=True)
    if not len(train):
        raise SystemExit("nothing can be trained: two training samples are needed for a batch")
    trainer.fit(task, train, DataLoader(Floods(chosen.data, "valid")))
    print(f"trained {trainer.global_step} steps")


if __name__ == "__main__":
    main()
