"""Specs: the published settings, and what the command line tells about them."""

import dataclasses
import subprocess
import sys

import pytest
from click.testing import CliRunner

from deo.cli import cli
from deo.errors import ModelError
from deo.models.registry import SPECS, is_ours, parameters, shapes, spec_of
from deo.models.swin import DeoSwin
from deo.models.vit import DeoViT


def test_specs__have_the_published_settings() -> None:
    assert list(SPECS) == [
        "deo_swin_t", "deo_swin_s", "deo_swin_b", "deo_swin_l", "deo_swin_n",
        "deo_vit_s", "deo_vit_b", "deo_vit_l", "test_deo_swin", "test_deo_vit",
    ]  # fmt: skip
    windows = {name: spec.window_size for name, spec in SPECS.items() if spec.build is DeoSwin}
    assert windows == {
        "deo_swin_t": 7, "deo_swin_s": 7, "deo_swin_b": 12, "deo_swin_l": 12, "deo_swin_n": 7,
        "test_deo_swin": 4,
    }  # fmt: skip
    patches = {name: spec.patch_size for name, spec in SPECS.items() if spec.build is DeoViT}
    assert patches == {"deo_vit_s": 16, "deo_vit_b": 8, "deo_vit_l": 16, "test_deo_vit": 16}
    assert SPECS["deo_vit_b"].out_indices == (3, 5, 8, 11)
    assert SPECS["deo_vit_l"].out_indices == (5, 11, 17, 23)


def test_specs__public_weights_are_pinned() -> None:
    swin, vit = SPECS["deo_swin_b"].published, SPECS["deo_vit_b"].published
    assert swin.filename == "DEO_swin_b.pth"
    assert swin.repo == vit.repo == "SolaireTheSun/DEO"
    assert len(swin.revision) == len(vit.revision) == 40
    assert (vit.filename, vit.pattern) == (None, "vit")
    assert {name for name, spec in SPECS.items() if spec.published} == {"deo_swin_b", "deo_vit_b"}


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("deo_swin_b", "layers.0.blocks.0.attn.relative_position_bias_table", (529, 4)),
        ("deo_vit_b", "pos_embed", (1, 785, 768)),
        ("deo_swin_n", "layers.3.blocks.1.mlp.fc2.weight", (192, 768)),
        ("deo_swin_t", "patch_embed.rgb.proj.weight", (96, 3, 4, 4)),
        ("deo_vit_s", "patch_embed.ms.proj.weight", (384, 10, 16, 16)),
    ],
)
def test_shapes__are_those_of_both_stems_and_no_head(name, key, shape) -> None:
    found = shapes(SPECS[name])
    assert found[key] == shape
    assert not any(other.startswith("head") for other in found)


def test_parameters__of_the_published_trunks() -> None:
    assert round(parameters(SPECS["deo_swin_b"]) / 1e6, 1) == 86.9
    assert round(parameters(SPECS["deo_vit_b"]) / 1e6, 1) == 86.3


def test_spec__is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPECS["deo_swin_b"].licence = "none"
    with pytest.raises(TypeError):
        SPECS["deo_swin_b"].args["window_size"] = 7


def test_spec_of__takes_a_tag_and_lists_the_known() -> None:
    assert spec_of("deo_swin_b.fmow") is SPECS["deo_swin_b"]
    with pytest.raises(ModelError, match=r"unknown model 'deo_swin_x'; known are deo_swin_t, "):
        spec_of("deo_swin_x")


def test_models_command__lists_every_backbone() -> None:
    result = CliRunner().invoke(cli, ["models"])
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines()[1:]}
    assert rows.keys() == SPECS.keys()
    for said in ("86.9 M", "ms 10, rgb 3", "window 12", "SolaireTheSun/DEO", "mit"):
        assert said in rows["deo_swin_b"]


def test_import__brings_in_nothing_heavy_and_does_no_work() -> None:
    heavy = "rasterio h5py sklearn zarr geopandas pyarrow matplotlib xformers kornia scipy.stats"
    code = f"""
import sys, timm
before = set(sys.modules)
import deo
new = {{name for name in set(sys.modules) - before}}
print(sorted(name for name in {heavy.split()} if name in new))
print([name for name in new if name.startswith(("deo.raster", "deo.training", "deo.cli"))])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["[]", "[]"]


def test_is_ours__with_or_without_a_tag() -> None:
    assert is_ours("deo_swin_t")
    assert is_ours("deo_swin_t.some_tag")
    assert not is_ours("resnet18")
