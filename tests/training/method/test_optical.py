"""Optical teachers: the architectures of every family, untrained and small."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deo.bands import AERIAL_MEAN, AERIAL_STD, RGB_BANDS
from deo.errors import ConfigError, WeightsError
from deo.models.weights import load_backbone, save_weights
from deo.training.method.config import Optical
from deo.training.method.optical import FrozenOpticalTeacher, build_optical_teacher

CPU = torch.device("cpu")
SMALL = {"depth": 4, "embed_dim": 48, "num_heads": 2}
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
FAMILIES: dict[str, dict[str, Any]] = {
    "dinov3_small": SMALL,
    "dinov3_sat_large": SMALL,
    "dinov3_convnext_tiny": CONVNEXT,
    "dinov2_small": SMALL,
    "dinov2_reg_small": SMALL,
    "cradio_v3_base": SMALL,
    "cradio_v4_so400m": SMALL,
    "pe_spatial_base": SMALL,
    "siglip2_base": SMALL,
    "test_deo_swin": {},
    "test_deo_vit": {},
}


def untrained(name: str, *, view_statistics: bool = False, **changes: Any) -> FrozenOpticalTeacher:
    torch.manual_seed(0)
    optical = Optical(name=name, pretrained=False, options=FAMILIES.get(name, {}), **changes)
    teacher = build_optical_teacher(optical, device=CPU, view_statistics=view_statistics)
    assert teacher is not None
    return teacher


def images(size: int = 112) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, size, size, generator=generator)


@pytest.mark.parametrize("name", FAMILIES)
def test_build_optical_teacher__named_features_of_every_family(name: str) -> None:
    teacher = untrained(name)
    features = teacher(images())
    assert features.cls.shape == (2, teacher.widths.cls)
    assert features.mid.shape[:2] == (2, teacher.widths.mid)
    assert features.late.shape[:2] == (2, teacher.widths.late)
    grid = {"dinov2_small": 8, "dinov2_reg_small": 8}.get(name, 7)
    assert features.mid.shape[2:] == (grid, grid)
    assert not any(x.requires_grad for x in features)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.train().training
    assert teacher.licence
    # sizes that are no multiple of the patch are answered too
    assert teacher(images(100)).late.shape[:2] == (2, teacher.widths.late)


@pytest.mark.parametrize("name", ["dinov3_small", "cradio_v3_base", "dinov3_convnext_tiny"])
def test_build_optical_teacher__bfloat16(name: str) -> None:
    full, half = untrained(name), untrained(name, precision="bf16")
    assert next(half.net.parameters()).dtype == torch.bfloat16
    for want, got in zip(full(images()), half(images()), strict=True):
        assert got.dtype == torch.float32
        assert F.cosine_similarity(want, got, dim=1).min() > 0.999


def test_optical_teacher__sees_its_own_statistics() -> None:
    mended, original = untrained("siglip2_base"), untrained("siglip2_base", view_statistics=True)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (AERIAL_MEAN, AERIAL_STD))
    pixels = torch.rand(2, 3, 64, 64)
    want = original((pixels - 0.5) / 0.5)
    got = mended((pixels - mean) / std)
    torch.testing.assert_close(tuple(got), tuple(want), rtol=1e-4, atol=1e-4)
    assert (original((pixels - mean) / std).cls - got.cls).abs().max() > 1e-3


def test_optical_teacher__the_first_of_several_summaries_is_the_class_feature() -> None:
    teacher = untrained("cradio_v3_base")
    assert teacher.prefix == 8
    final, _ = teacher.net.forward_intermediates(
        images() * teacher.get_buffer("scale") + teacher.get_buffer("shift"), indices=[0]
    )
    torch.testing.assert_close(teacher(images()).cls, final[:, 0])


def test_optical_teacher__vit_layers_are_read_after_the_final_norm() -> None:
    teacher = untrained("dinov2_small")
    assert teacher.layers == (1, 3)
    net, taps = teacher.net, []
    net.blocks[1].register_forward_hook(lambda module, args, out: taps.append(out))
    features = teacher(images())
    want = net.norm(taps[0])[:, 1:].mT.unflatten(2, (8, 8))
    torch.testing.assert_close(features.mid, want)


def test_build_optical_teacher__none_and_unknown(tmp_path: Path) -> None:
    assert build_optical_teacher(Optical(), device=CPU) is None
    with pytest.raises(ConfigError, match="dinov3_base"):
        build_optical_teacher(Optical(name="dinov9"), device=CPU)
    missing = Optical(name="test_deo_swin", weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError):
        build_optical_teacher(missing, device=CPU)


@pytest.mark.parametrize("name", ["none", "dinov3_base", "deo_swin_x"])
def test_build_optical_teacher__files_are_for_backbones_of_deo(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"optical.weights is 'a.pt', but optical.name is '{name}'"
    ):
        build_optical_teacher(Optical(name=name, weights="a.pt"), device=CPU)


def test_build_optical_teacher__deo_weights_from_a_file(tmp_path: Path) -> None:
    source = load_backbone(
        "test_deo_swin", untrained=True, bands=RGB_BANDS, features_only=False, num_classes=0
    )
    path = tmp_path / "optical.safetensors"
    save_weights(source.model, path)
    teacher = build_optical_teacher(Optical(name="test_deo_swin", weights=str(path)), device=CPU)
    assert teacher is not None
    source.model.eval()
    with torch.no_grad():
        want = source.model(images())
    torch.testing.assert_close(teacher(images()).cls, want)
