"""Features of the published code, computed once, with weights that a rule makes from their names.

The files kept beside the tests are those of the shared folder with fewer positions.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from deo.models import convert
from deo.models.registry import SPECS

KEPT = Path(__file__).parents[1] / "golden" / "backbones"
NAMES = {
    "swin_t": "deo_swin_t",
    "swin_s": "deo_swin_s",
    "swin_b": "deo_swin_b",
    "vit_small": "deo_vit_s",
    "vit_base": "deo_vit_b",
}


def by_rule(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value of the published tensor `name`: seeded by the name, scaled by its kind."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    n = np.random.RandomState(seed).standard_normal(int(np.prod(shape))).reshape(shape)
    n = n.astype(np.float32)
    if name.endswith("relative_position_bias_table"):
        value = n
    elif name.endswith(("pos_embed", "cls_token")):
        value = 0.5 * n
    elif len(shape) == 1:
        value = 1 + 0.1 * n if name.endswith("weight") else 0.02 * n
    else:
        value = n * np.prod(shape[1:]) ** -0.5
    return torch.from_numpy(np.asarray(value, np.float32))


def build(meta: dict, published_layout: Callable) -> torch.nn.Module:
    """The architecture that `meta` names, filled by the rule under its published names."""
    spec = SPECS[NAMES[meta["arch"]]]
    size = {"window_size": meta["window"]} if "window" in meta else {"patch_size": meta["patch"]}
    model = timm.create_model(spec.name, **size).eval()
    ours = model.state_dict()
    filled = {
        name: by_rule(name, tuple(tensor.shape))
        for name, tensor in published_layout(ours).items()
        if tensor.is_floating_point() and not re.match(r"(cls_|patch_)?head", name)
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    model.load_state_dict(convert.to_deo(filled, shapes, model=spec.name).tensors)
    return model


def check(path: Path, published_layout: Callable) -> None:
    with np.load(path) as golden:
        meta = json.loads(str(golden["meta"]))
        shape = meta["input_shape"]
        x = np.random.RandomState(meta["seed"]).standard_normal(np.prod(shape)).reshape(shape)
        model = build(meta, published_layout)
        with torch.no_grad():
            found = features(model, torch.from_numpy(x.astype(np.float32)))
        for index, feature in enumerate(found):
            wanted = golden[f"f{index}_val"]
            assert tuple(feature.shape) == tuple(golden[f"f{index}_shape"])
            kept = feature[0].flatten(0, -2)[torch.from_numpy(golden[f"f{index}_idx"])]
            assert np.abs(kept.numpy() - wanted).max() < 1e-4, index
            assert abs(feature.mean().item() - float(golden[f"f{index}_mean"])) < 1e-4
            assert abs(feature.abs().max().item() - float(golden[f"f{index}_absmax"])) < 1e-4


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.npz")), ids=lambda path: path.stem)
def test_features__equal_the_published_code(path: Path, published_layout: Callable) -> None:
    check(path, published_layout)


@pytest.mark.slow
def test_features__equal_every_golden_file_given(shared: Path, published_layout: Callable) -> None:
    paths = sorted((shared / "golden" / "backbones").glob("*.npz"))
    assert paths
    for path in paths:
        check(path, published_layout)


def features(model: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What the authors use: four stages as NHWC, or blocks 3, 5, 8, 11 with the class token."""
    if hasattr(model, "layers"):
        maps = model.forward_intermediates(x, intermediates_only=True)
        return [m.permute(0, 2, 3, 1) for m in maps]
    pairs = model.forward_intermediates(
        x,
        indices=[3, 5, 8, 11],
        return_prefix_tokens=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return [torch.cat([first, rest], dim=1) for rest, first in pairs]
