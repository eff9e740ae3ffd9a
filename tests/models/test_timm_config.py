"""timm's configuration of a backbone: its input, its weights, and how it was built."""

from pathlib import Path

import pytest
import torch
from timm.models import PretrainedCfg

from deo.bands import AERIAL_MEAN, MODEL_BANDS, BandSet
from deo.errors import WeightsError
from deo.models import timm_config
from deo.models.registry import SPECS
from deo.models.stems import stem_widths

MICRO, PUBLIC = SPECS["test_deo_swin"], SPECS["deo_swin_b"]


def test_default_cfg__names_the_input_and_the_released_file() -> None:
    cfg = timm_config.default_cfg(PUBLIC)
    assert cfg["input_size"] == (10, 224, 224)
    assert cfg["mean"] == MODEL_BANDS.mean
    assert cfg["hf_hub_id"].startswith("SolaireTheSun/DEO@")
    assert timm_config.tagged_name(PUBLIC) == "deo_swin_b.fmow"
    assert timm_config.tagged_name(MICRO) == "test_deo_swin"


@pytest.mark.parametrize(
    ("in_chans", "bands", "channels", "mean"),
    [
        (3, None, 3, AERIAL_MEAN),
        (None, ("B08", "B04"), 2, BandSet(["B08", "B04"]).mean),
        (4, None, 4, (0.0,) * 4),
        (10, None, 10, MODEL_BANDS.mean),
    ],
)
def test_described__says_what_the_first_stem_takes(
    in_chans: int | None, bands: tuple[str, ...] | None, channels: int, mean: tuple[float, ...]
) -> None:
    cfg = PretrainedCfg(**timm_config.default_cfg(MICRO))
    named = BandSet(bands) if bands else None
    described = timm_config.described(cfg, stem_widths(in_chans, bands), named, note=("x",))
    assert described.input_size == (channels, 64, 64)
    assert described.mean == mean
    assert described.notes == ("x",)


def test_noted__what_note_wrote_comes_back_from_exported_models() -> None:
    note = timm_config.note({"img_size": 96, "bands": ["B04"], "num_classes": 7, "drop_rate": 0.1})
    exported = PretrainedCfg(source="local-dir", notes=("another's", *note))
    assert timm_config.noted(exported) == {"img_size": 96, "bands": ["B04"]}
    assert timm_config.noted(PretrainedCfg(notes=note)) == {}
    assert timm_config.noted(PretrainedCfg(source="hf-hub")) == {}
    assert timm_config.note({"num_classes": 3}) == ()


def test_weights_of__an_overlay_before_the_released_file(tmp_path: Path) -> None:
    state = MICRO.build(**MICRO.args, img_size=64, num_classes=0).state_dict()
    cfg = PretrainedCfg(state_dict=state)
    backbone = timm_config.weights_of(MICRO, cfg)
    assert backbone.record.source == "state_dict"
    assert all(torch.equal(backbone.tensors[name], state[name]) for name in state)
    with pytest.raises(WeightsError, match="cannot read weights"):
        timm_config.weights_of(MICRO, PretrainedCfg(file=str(tmp_path / "absent.pth")))


def test_weights_of__refuses_what_is_not_at_hand(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="give it as file="):
        timm_config.weights_of(MICRO, PretrainedCfg(url="https://example.org/x.pth"))
    with pytest.raises(WeightsError, match=r"holds no weights; looked for model\.safetensors"):
        timm_config.weights_of(MICRO, PretrainedCfg(source="local-dir", file=str(tmp_path)))


def test_given_file__the_embedded_one_is_none() -> None:
    spec = SPECS["deo_swin_n"]
    cfg = PretrainedCfg(**timm_config.default_cfg(spec))
    assert timm_config.given_file(cfg, spec) is None
    assert timm_config.given_file(PretrainedCfg(file="mine.pth"), spec) == "mine.pth"
