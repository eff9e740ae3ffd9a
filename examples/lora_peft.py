"""LoRA on a DEO backbone with peft: the attention learns in few parameters.

    python examples/lora_peft.py EUROSAT_FOLDER --model deo_swin_n

Needs: pip install peft
"""

import argparse
from pathlib import Path

import peft
import timm
import torch
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

    data = benchmark("eurosat-ms")
    split = data.open(chosen.data, bands=deo.MODEL_BANDS)["all"]
    contract = fit_contract("pretrain", bands=deo.MODEL_BANDS)
    samples = [(network_input(s, data.unit, contract), int(s.target)) for s in split]

    backbone = timm.create_model(
        chosen.model, pretrained=not chosen.untrained, in_chans=10, num_classes=data.class_count
    )
    # the query, key and value projections are one layer; the new head is tuned in full
    config = peft.LoraConfig(r=8, target_modules=["qkv", "proj"], modules_to_save=["head.fc"])
    model = peft.get_peft_model(backbone, config)
    learned, total = model.get_nb_trainable_parameters()
    print(f"{learned} of {total} parameters learn")
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    for epoch in range(chosen.epochs):
        for images, labels in DataLoader(samples, batch_size=16, shuffle=True):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
