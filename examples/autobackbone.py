"""A DEO backbone under the names of transformers and TerraTorch.

    python examples/autobackbone.py --model deo_swin_n

Needs: pip install transformers; TerraTorch is used if it is installed.
"""

import argparse

import torch
from transformers import AutoBackbone, TimmBackboneConfig

import deo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--untrained", action="store_true")
    chosen = parser.parse_args()
    images = torch.randn(1, len(deo.MODEL_BANDS), 64, 64)

    config = TimmBackboneConfig(
        backbone=chosen.model,
        num_channels=len(deo.MODEL_BANDS),
        use_pretrained_backbone=not chosen.untrained,
        out_indices=(0, 1, 2, 3),
    )
    backbone = AutoBackbone.from_config(config).eval()
    with torch.inference_mode():
        maps = backbone(images).feature_maps
    print("transformers:", [tuple(features.shape) for features in maps])

    try:
        from terratorch.registry import BACKBONE_REGISTRY
    except ImportError:
        print("terratorch is not installed")
        return
    # importing deo registered the backbones with timm, and TerraTorch asks timm
    model = BACKBONE_REGISTRY.build(
        f"timm_{chosen.model}", pretrained=not chosen.untrained, in_chans=len(deo.MODEL_BANDS)
    )
    print("terratorch:", [tuple(features.shape) for features in model.eval()(images)])


if __name__ == "__main__":
    main()
