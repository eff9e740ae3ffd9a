"""The table of optical teachers against the installed timm."""

import pytest
import timm

from deo.errors import ConfigError
from deo.training.method.config import Optical
from deo.training.method.optical_table import OPTICAL_TEACHERS, licence_of, timm_name


@pytest.mark.parametrize("name", OPTICAL_TEACHERS)
def test_optical_teachers__exist_in_timm_with_weights_licence_and_statistics(name: str) -> None:
    cfg = timm.get_pretrained_cfg(OPTICAL_TEACHERS[name])
    assert cfg is not None
    assert cfg.hf_hub_id
    assert len(cfg.mean) == len(cfg.std) == 3
    families = {"dinov3": "DINOv3", "dinov2": "Apache", "cradio": "NVIDIA"}
    expected = families.get(name.split("_")[0], "Apache")
    assert expected in str(licence_of(Optical(name=name)))


def test_licence_of__none_and_ours() -> None:
    assert licence_of(Optical()) is None
    assert "deo" in str(licence_of(Optical(name="deo_swin_t")))


def test_timm_name__any_model_of_timm() -> None:
    assert timm_name("resnet18") == "resnet18"
    with pytest.raises(ConfigError, match=r"unknown optical.name 'dinov9'; .*dinov3_base"):
        timm_name("dinov9")


def test_timm_name__a_timm_too_old_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.is_model", lambda name: False)
    want = rf"vit_base_patch16_radio_v3.c_radio, which the installed timm {timm.__version__} does"
    with pytest.raises(ConfigError, match=want):
        timm_name("cradio_v3_base")
