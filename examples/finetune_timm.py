"""Fine-tune a backbone with plain timm and PyTorch: ten bands, layer-wise learning rates.

    python examples/finetune_timm.py EUROSAT_FOLDER --model deo_swin_n

EUROSAT_FOLDER holds EuroSAT-MS: one folder of GeoTIFFs per class.
"""

import argparse
from pathlib import Path

import timm
import torch
from timm.optim import create_optimizer_v2
from torch.utils.data import DataLoader

import deo
from deo.contracts import fit_contract
from deo.training.tasks.benchmarks.catalogue import benchmark
from deo.training.tasks.inputs import network_input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    chosen = parser.parse_args()

    data = benchmark("eurosat-ms")  # knows that B8A is stored last
    split = data.open(chosen.data, bands=deo.MODEL_BANDS)["all"]
    contract = fit_contract("pretrain", bands=deo.MODEL_BANDS)
    samples = [(network_input(s, data.unit, contract), int(s.target)) for s in split]
    train, test = samples[::2], samples[1::2]

    model = timm.create_model(
        chosen.model, pretrained=not chosen.untrained, in_chans=10, num_classes=data.class_count
    )
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    for group in optimizer.param_groups:
        group["lr"] *= group["lr_scale"]
    for epoch in range(chosen.epochs):
        model.train()
        for images, labels in DataLoader(train, batch_size=16, shuffle=True):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            hits = torch.cat([model(x).argmax(1) == y for x, y in DataLoader(test, batch_size=64)])
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {hits.float().mean():.3f}")


if __name__ == "__main__":
    main()
