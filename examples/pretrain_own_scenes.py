"""Pretrain a backbone on a folder of one's own Sentinel-2 scenes, and load it.

    python examples/pretrain_own_scenes.py SCENES --output run --steps 2000

SCENES holds GeoTIFFs whose bands are named (B02 ... B12). The recipe `embedded_rgb` learns by
self-distillation alone and needs no other model; `deo pretrain --help` shows the rest.
Needs: pip install "deo[train]"
"""

import argparse
from pathlib import Path

import timm
import torch

import deo
from deo.models.weights import load_backbone
from deo.training.pretrain import compose
from deo.training.run.export import export
from deo.training.run.pretraining import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--output", type=Path, default=Path("run"))
    parser.add_argument("--recipe", default="embedded_rgb")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--set", action="append", default=[], help="any setting: optim.lr=1e-3")
    chosen = parser.parse_args()

    config = compose(chosen.recipe, None, [f"run.steps={chosen.steps}", *chosen.set], chosen.scenes)
    # a killed run goes on when started again
    state = pretrain(config, output=chosen.output, progress=False)
    print(f"{config.model.name}: {state.step} steps")

    weights = chosen.output / "weights.safetensors"
    export(chosen.output, weights, overwrite=True)
    loaded = load_backbone(config.model.name, weights=weights)
    images = torch.randn(1, len(loaded.bands), 64, 64)
    print("features:", [tuple(features.shape) for features in loaded.model(images)])

    bands = ",".join(loaded.bands)  # the model takes these alone, whatever else a scene holds
    print(f"next: deo extract SCENE -o features.tif --weights {weights} --bands {bands}")
    model = timm.create_model(config.model.name, in_chans=len(loaded.bands), num_classes=4)
    print(f"deo {deo.__version__}, {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
