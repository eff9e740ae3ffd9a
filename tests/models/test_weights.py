"""Files into models and back: whole or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import deo
from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import ModelError, OutputError, WeightsError
from deo.models import sources, weight_files, weights

MICRO = ["test_deo_swin", "test_deo_vit"]
FOUR = BandSet(["B08", "B04", "B03", "B02"])


def test_save_weights__metadata_says_what_the_file_is(name: str, saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        said = file.metadata()
    assert said["model"] == name
    assert said["deo_version"] == deo.__version__
    assert said["bands"] == str(MODEL_BANDS)
    assert json.loads(said["contract"]) == {"name": "scene"}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    plain = saved.with_name("plain")
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode


def test_load_backbone__file_of_ours(name: str, saved: Path, micro: Any) -> None:
    loaded = weights.load_backbone(name, weights=saved, features_only=False)
    assert loaded.bands == MODEL_BANDS
    assert loaded.weights == sources.WeightsRecord(
        model=name,
        source="file:saved.safetensors",
        sha256=weight_files.sha256(saved),
        contract={"name": "scene"},
    )
    own, source = loaded.model.state_dict(), micro.state_of(name)
    assert own.keys() == {key for key in source if not key.startswith("patch_embed.rgb.")}
    assert all(torch.equal(own[key], source[key]) for key in own)


def test_load_backbone__every_layout_gives_the_same_maps(
    name: str, saved: Path, released: Path, training_checkpoint: Callable, micro: Any
) -> None:
    trained = saved.with_name("checkpoint.pth")
    torch.save(training_checkpoint(micro.state_of(name)), trained)
    whole = micro.backbone(name)
    for bands in (MODEL_BANDS, RGB_BANDS):
        x = torch.randn(1, len(bands), 64, 64)
        wanted = whole.forward_intermediates(
            x, indices=timm.create_model(name, features_only=True).feature_info.out_indices,
            norm=False, intermediates_only=True,
        )  # fmt: skip
        for path in (saved, released, trained):
            loaded = weights.load_backbone(name, weights=path, bands=bands)
            assert loaded.bands == bands
            maps = loaded.model.eval()(x)
            assert [m.shape[1] for m in maps] == loaded.model.feature_info.channels()
            for got, want in zip(maps, wanted, strict=True):
                torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def test_load_backbone__chosen_bands_are_slices_of_the_stem(
    name: str, saved: Path, micro: Any
) -> None:
    loaded = weights.load_backbone(name, weights=saved, bands=FOUR, features_only=False)
    whole = micro.backbone(name).patch_embed.ms.proj.weight
    positions = [MODEL_BANDS.names.index(band) for band in FOUR]
    assert torch.equal(loaded.model.patch_embed.ms.proj.weight, whole[:, positions])


def test_save_weights__chosen_bands_come_back(
    name: str, saved: Path, tmp_path: Path, micro: Any
) -> None:
    four = weights.load_backbone(name, weights=saved, bands=FOUR)
    again = tmp_path / "four.safetensors"
    weights.save_weights(four.model, again)
    loaded = weights.load_backbone(name, weights=again)
    assert loaded.bands == FOUR
    assert micro.same(loaded.model, four.model.state_dict())
    two = weights.load_backbone(name, weights=again, bands=BandSet(["B02", "B08"]))
    assert two.model(torch.zeros(1, 2, 64, 64))[0].shape[0] == 1
    with pytest.raises(WeightsError, match=r"missing band B11"):
        weights.load_backbone(name, weights=again, bands=BandSet(["B11"]))
    with pytest.raises(WeightsError, match=r"missing \(patch_embed\.rgb"):
        weights.load_backbone(name, weights=again, bands=RGB_BANDS)


def test_save_weights__bands_of_a_timm_model_are_written_down(
    name: str, tmp_path: Path, micro: Any
) -> None:
    named, unnamed = tmp_path / "named.safetensors", tmp_path / "unnamed.safetensors"
    weights.save_weights(micro.backbone(name, bands=FOUR.names), named)
    assert weights.load_backbone(name, weights=named).bands == FOUR
    weights.save_weights(micro.backbone(name, in_chans=4), unnamed)
    with pytest.raises(WeightsError, match=r"which bands the 4 channels"):
        weights.load_backbone(name, weights=unnamed)
    assert weights.load_backbone(name, weights=unnamed, bands=FOUR).bands == FOUR


def test_save_weights__features_only_model_comes_back(
    name: str, tmp_path: Path, micro: Any
) -> None:
    path = tmp_path / "features.safetensors"
    model = micro.backbone(name, features_only=True, in_chans=10)
    weights.save_weights(model, path)
    assert micro.same(weights.load_backbone(name, weights=path).model, model.state_dict())
    has_norm = any(key.startswith("norm.") for key in load_file(path))
    overlay = {"pretrained": True, "in_chans": 10, "pretrained_cfg_overlay": {"file": str(path)}}
    again = timm.create_model(name, features_only=True, **overlay)
    assert micro.same(again, model.state_dict())
    if not has_norm:
        lacks = r"2 missing \(norm\.bias, norm\.weight\).*features_only model"
        with pytest.raises(WeightsError, match=lacks):
            timm.create_model(name, **overlay)
        with pytest.raises(WeightsError, match=lacks):
            weights.load_backbone(name, weights=path, features_only=False)


def test_save_weights__refuses_what_could_not_be_loaded(
    name: str, tmp_path: Path, micro: Any
) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="missing"):
        weights.save_weights(micro.backbone(name, features_only=True, out_indices=(0, 1)), path)
    with pytest.raises(ModelError, match="unknown model"):
        weights.save_weights(timm.create_model("test_vit"), path)
    with pytest.raises(OutputError, match="cannot write"):
        weights.save_weights(micro.backbone(name), tmp_path / "absent" / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_load_backbone__untrained_is_asked_for_by_name(name: str) -> None:
    loaded = weights.load_backbone(name, untrained=True, bands=RGB_BANDS)
    assert loaded.weights == sources.WeightsRecord(model=name, source="untrained")
    assert loaded.model(torch.zeros(1, 3, 64, 64))
    with pytest.raises(WeightsError, match=r"no public weights .*deo_swin_b.*--untrained"):
        weights.load_backbone(name)
    with pytest.raises(WeightsError, match="choose"):
        weights.load_backbone(name, weights=Path("x"), untrained=True)
    with pytest.raises(ModelError, match=r"unknown model 'deo_swin_x'.*deo_swin_b"):
        weights.load_backbone("deo_swin_x")


def test_load_backbone__another_input_size(saved: Path, name: str) -> None:
    loaded = weights.load_backbone(name, weights=saved, img_size=96)
    native = weights.load_backbone(name, weights=saved)
    x = torch.randn(1, 10, 96, 96)
    for got, want in zip(loaded.model.eval()(x), native.model.eval()(x), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
