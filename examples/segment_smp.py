"""Flood mapping: UPerNet of segmentation-models-pytorch on a DEO backbone.

    python examples/segment_smp.py SEN1FLOODS11_FOLDER --model deo_swin_n

The folder holds *_S2Hand.tif and *_LabelHand.tif. Needs: pip install "deo[eval]"
"""

import argparse
from pathlib import Path

import segmentation_models_pytorch as smp
import torch

import deo
from deo.contracts import fit_contract
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.patches import Examples, batches
from deo.training.tasks.scores import IGNORE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--crop", type=int, default=128)
    chosen = parser.parse_args()

    model = smp.UPerNet(
        f"tu-{chosen.model}",
        encoder_weights=None if chosen.untrained else True,
        in_channels=len(deo.MODEL_BANDS),
        classes=2,
        decoder_channels=64,
    )
    data = benchmark("sen1floods11")
    splits = data.open(chosen.data, bands=deo.MODEL_BANDS)
    examples = Examples(
        split=splits.get("train", next(iter(splits.values()))),
        unit=data.unit,
        contract=fit_contract("pretrain", bands=deo.MODEL_BANDS),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for epoch in range(chosen.epochs):
        settings = {"size": 4, "crop": chosen.crop, "flips": True, "seed": 0, "epoch": epoch}
        for images, masks, _ in batches(examples, **settings):
            scores = model(images)
            loss = torch.nn.functional.cross_entropy(scores, masks, ignore_index=IGNORE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = (scores.argmax(1) == masks)[masks != IGNORE].float().mean()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, pixels right {right:.3f}")


if __name__ == "__main__":
    main()
