"""Files into models and back: whole or not at all."""

import argparse
import functools
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import deo
from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import ModelError, OutputError, WeightsError
from deo.models import sources, weight_files, weights

MICRO = ["test_deo_swin", "test_deo_vit"]
FOUR = BandSet(["B08", "B04", "B03", "B02"])


def backbone(name: str, **kwargs: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **kwargs).eval()


@functools.cache
def state_of(name: str) -> dict[str, torch.Tensor]:
    """Of `backbone(name)`; copy it before changing it."""
    return backbone(name).state_dict()


def same(left: torch.nn.Module, theirs: dict[str, torch.Tensor]) -> bool:
    ours = left.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(params=MICRO)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def saved(name: str, tmp_path: Path) -> Path:
    path = tmp_path / "saved.safetensors"
    weights.save_weights(backbone(name), path, contract={"name": "scene"})
    return path


@pytest.fixture
def released(name: str, tmp_path: Path, published_layout: Callable) -> Path:
    path = tmp_path / "released.pth"
    torch.save(published_layout(state_of(name)), path)
    return path


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


def test_load_backbone__file_of_ours(name: str, saved: Path) -> None:
    loaded = weights.load_backbone(name, weights=saved, features_only=False)
    assert loaded.bands == MODEL_BANDS
    assert loaded.weights == sources.WeightsRecord(
        model=name,
        source="file:saved.safetensors",
        sha256=weight_files.sha256(saved),
        contract={"name": "scene"},
    )
    own, source = loaded.model.state_dict(), state_of(name)
    assert own.keys() == {key for key in source if not key.startswith("patch_embed.rgb.")}
    assert all(torch.equal(own[key], source[key]) for key in own)


def test_load_backbone__every_layout_gives_the_same_maps(
    name: str, saved: Path, released: Path, training_checkpoint: Callable
) -> None:
    trained = saved.with_name("checkpoint.pth")
    torch.save(training_checkpoint(state_of(name)), trained)
    whole = backbone(name)
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


def test_load_backbone__chosen_bands_are_slices_of_the_stem(name: str, saved: Path) -> None:
    loaded = weights.load_backbone(name, weights=saved, bands=FOUR, features_only=False)
    whole = backbone(name).patch_embed.ms.proj.weight
    positions = [MODEL_BANDS.names.index(band) for band in FOUR]
    assert torch.equal(loaded.model.patch_embed.ms.proj.weight, whole[:, positions])


def test_save_weights__chosen_bands_come_back(name: str, saved: Path, tmp_path: Path) -> None:
    four = weights.load_backbone(name, weights=saved, bands=FOUR)
    again = tmp_path / "four.safetensors"
    weights.save_weights(four.model, again)
    loaded = weights.load_backbone(name, weights=again)
    assert loaded.bands == FOUR
    assert same(loaded.model, four.model.state_dict())
    two = weights.load_backbone(name, weights=again, bands=BandSet(["B02", "B08"]))
    assert two.model(torch.zeros(1, 2, 64, 64))[0].shape[0] == 1
    with pytest.raises(WeightsError, match=r"missing band B11"):
        weights.load_backbone(name, weights=again, bands=BandSet(["B11"]))
    with pytest.raises(WeightsError, match=r"missing \(patch_embed\.rgb"):
        weights.load_backbone(name, weights=again, bands=RGB_BANDS)


def test_save_weights__bands_of_a_timm_model_are_written_down(name: str, tmp_path: Path) -> None:
    named, unnamed = tmp_path / "named.safetensors", tmp_path / "unnamed.safetensors"
    weights.save_weights(backbone(name, bands=FOUR.names), named)
    assert weights.load_backbone(name, weights=named).bands == FOUR
    weights.save_weights(backbone(name, in_chans=4), unnamed)
    with pytest.raises(WeightsError, match=r"which bands the 4 channels"):
        weights.load_backbone(name, weights=unnamed)
    assert weights.load_backbone(name, weights=unnamed, bands=FOUR).bands == FOUR


def test_save_weights__features_only_model_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    model = backbone(name, features_only=True, in_chans=10)
    weights.save_weights(model, path)
    assert same(weights.load_backbone(name, weights=path).model, model.state_dict())
    has_norm = any(key.startswith("norm.") for key in load_file(path))
    overlay = {"pretrained": True, "in_chans": 10, "pretrained_cfg_overlay": {"file": str(path)}}
    again = timm.create_model(name, features_only=True, **overlay)
    assert same(again, model.state_dict())
    if not has_norm:
        lacks = r"2 missing \(norm\.bias, norm\.weight\).*features_only model"
        with pytest.raises(WeightsError, match=lacks):
            timm.create_model(name, **overlay)
        with pytest.raises(WeightsError, match=lacks):
            weights.load_backbone(name, weights=path, features_only=False)


def test_save_weights__refuses_what_could_not_be_loaded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="missing"):
        weights.save_weights(backbone(name, features_only=True, out_indices=(0, 1)), path)
    with pytest.raises(ModelError, match="unknown model"):
        weights.save_weights(timm.create_model("test_vit"), path)
    with pytest.raises(OutputError, match="cannot write"):
        weights.save_weights(backbone(name), tmp_path / "absent" / "x.safetensors")
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


@pytest.mark.parametrize(("held", "wanted"), [MICRO, MICRO[::-1]])
def test_from_file__another_model_names_both(tmp_path: Path, held: str, wanted: str) -> None:
    path = tmp_path / "held.safetensors"
    weights.save_weights(backbone(held), path)
    with pytest.raises(WeightsError, match=f"weights of {held}, not of {wanted}"):
        weights.load_backbone(wanted, weights=path)


@pytest.mark.parametrize("contract", ["{bad", "[1]", '"scene"'])
def test_from_file__a_contract_that_is_none_is_an_error(tmp_path: Path, contract: str) -> None:
    path = tmp_path / "held.safetensors"
    weights.save_weights(backbone(MICRO[0]), path, metadata={"contract": contract})
    with pytest.raises(WeightsError, match="hold no contract"):
        weights.load_backbone(MICRO[0], weights=path)


class Malice:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple:
        return Path.touch, (self.flag,)


def lose(state: dict) -> None:
    state.pop("norm.weight")


def add(state: dict) -> None:
    state["neck.weight"] = torch.zeros(2)


@pytest.mark.parametrize(("change", "message"), [(lose, "1 missing"), (add, "1 not part")])
@pytest.mark.parametrize("kind", ["released", "training", "ours"])
def test_from_file__one_tensor_wrong_is_an_error(
    name: str, kind: str, change: Callable, message: str, tmp_path: Path,
    published_layout: Callable, training_checkpoint: Callable,
) -> None:  # fmt: skip
    state = dict(state_of(name))
    path = tmp_path / "file"
    if kind == "ours":
        change(state)
        save_file(state, path)
    else:
        content = published_layout(state) if kind == "released" else training_checkpoint(state)
        target = content if kind == "released" else content["student"]
        key = "norm.weight" if kind == "released" else "_orig_mod.module.backbone.norm.weight"
        if change is lose:
            del target[key]
        else:
            add(target)
        torch.save(content, path)
    with pytest.raises(WeightsError, match=f"file: these weights do not fit {name}: .*{message}"):
        weights.load_backbone(name, weights=path)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) * 2 // 3]
    elif how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "empty":
        content = bytearray()
    elif how == "pointer":
        content = bytearray(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "pointer"])
def test_from_file__damaged_released_file(name: str, released: Path, how: str) -> None:
    damage(released, how)
    with pytest.raises(WeightsError, match=r"released\.pth .*(damaged|neither)"):
        weights.load_backbone(name, weights=released)


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_from_file__damaged_file_of_ours(name: str, saved: Path, how: str) -> None:
    damage(saved, how)
    with pytest.raises(WeightsError, match=r"saved\.safetensors .*(truncated|neither)"):
        weights.load_backbone(name, weights=saved)


@pytest.mark.parametrize("legacy", [False, True])
def test_from_file__a_pickled_object_never_lives(
    name: str, released: Path, legacy: bool, tmp_path: Path
) -> None:
    flag = tmp_path / "executed"
    state = torch.load(released, weights_only=True) | {"epoch": Malice(flag)}
    torch.save(state, released, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"holds more than tensors .*pickled \S*(Path|getattr)"):
        weights.load_backbone(name, weights=released)
    assert not flag.exists()


def test_read__namespace_is_the_only_object_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"args": argparse.Namespace(lr=1e-3)}, path)
    assert weight_files.read(path).content["args"].lr == 1e-3
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    torch.save({"args": Path("x")}, path)
    with pytest.raises(WeightsError, match="PosixPath"):
        weight_files.read(path)


@pytest.mark.parametrize("content", [torch.zeros(2), [1, 2], {1: torch.zeros(2)}, None])
def test_read__anything_but_named_tensors_is_an_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="not tensors under names"):
        weight_files.read(path)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": 1}),
        b"\x80\x02",
        b"PK\x03\x04" + b"\0" * 40,
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        b"<html></html>",
    ],
)
def test_read__what_is_no_weights_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pth"):
        weight_files.read(path)


@pytest.mark.parametrize("place", ["absent.pth", "."])
def test_read__absent_file_is_an_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(WeightsError, match="cannot read weights"):
        weight_files.read(tmp_path / place)


def test_create_model__overlay_takes_every_layout(
    name: str, saved: Path, released: Path, training_checkpoint: Callable
) -> None:
    trained = saved.with_name("checkpoint.pth")
    torch.save(training_checkpoint(state_of(name), compiled=False), trained)
    for path in (saved, released, trained):
        overlay = {"file": str(path)}
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
        assert same(model, state_of(name))
    for kwargs in ({"in_chans": 3}, {"in_chans": 10}, {"features_only": True}, {"bands": FOUR}):
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"file": str(released)}, **kwargs
        )
        own = getattr(model, "model", model).state_dict()
        source = state_of(name)
        own.pop("patch_embed.ms.proj.weight", None)
        assert own
        assert all(torch.equal(own[key], source[key]) for key in own)


def test_create_model__overlay_that_does_not_fit(name: str, released: Path, tmp_path: Path) -> None:
    other = next(micro for micro in MICRO if micro != name)
    for file, model, message in (
        (released, other, f"do not fit {other}"),
        (tmp_path / "absent.pth", name, "cannot read weights"),
    ):
        with pytest.raises(WeightsError, match=message):
            timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": str(file)})
    with pytest.raises(WeightsError, match="no public weights"):
        timm.create_model(name, pretrained=True)


def test_create_model__new_classifier_is_random_and_nothing_else(name: str, released: Path) -> None:
    overlay = {"file": str(released)}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5)
    own, source = model.state_dict(), state_of(name)
    assert {key for key in own if key.startswith("head.")} == own.keys() - source.keys()
    assert all(torch.equal(own[key], source[key]) for key in source)


def test_create_model__checkpoint_path_with_a_published_file(name: str, released: Path) -> None:
    with pytest.raises(WeightsError, match=r"pretrained_cfg_overlay.*deo convert"):
        timm.create_model(name, checkpoint_path=str(released))


def test_create_model__checkpoint_path_with_a_training_checkpoint(
    name: str, tmp_path: Path, training_checkpoint: Callable
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(training_checkpoint(state_of(name)), path)
    for kwargs in ({}, {"features_only": True}):
        with pytest.raises(WeightsError, match=r"pretrained_cfg_overlay.*deo convert"):
            timm.create_model(name, checkpoint_path=str(path), **kwargs)


def test_create_model__checkpoint_path_with_a_file_of_ours(name: str, saved: Path) -> None:
    assert same(timm.create_model(name, checkpoint_path=str(saved)), state_of(name))


@pytest.mark.parametrize(
    "kwargs", [{}, {"in_chans": 3}, {"bands": FOUR.names}, {"num_classes": 4}, {"in_chans": 5}]
)
def test_create_model__local_dir_round_trip(name: str, tmp_path: Path, kwargs: dict) -> None:
    from timm.models import save_for_hf

    model = backbone(name, **kwargs)
    save_for_hf(model, tmp_path, model_args=kwargs, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert same(again, model.state_dict())


@pytest.mark.parametrize("how", ["empty", "one missing", "another model"])
def test_create_model__local_dir_that_does_not_fit(name: str, tmp_path: Path, how: str) -> None:
    from timm.models import save_for_hf

    save_for_hf(backbone(name), tmp_path, safe_serialization=True)
    stored = tmp_path / "model.safetensors"
    if how == "empty":
        for path in tmp_path.glob("*model.*"):
            path.unlink()
    elif how == "one missing":
        state = load_file(stored)
        state.pop("norm.bias")
        save_file(state, stored)
    else:
        other = next(micro for micro in MICRO if micro != name)
        save_file(backbone(other).state_dict(), stored)
    with pytest.raises(WeightsError):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
