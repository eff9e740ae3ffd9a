"""timm's contract, over every registered backbone: micro ones run, big ones are built on meta."""

import copy
import json
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import save_for_hf
from timm.optim import create_optimizer_v2

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, BandSet
from deo.errors import ModelError, WeightsError
from deo.models.registry import SPECS

MICRO = ["test_deo_swin", "test_deo_vit"]
BIG = [name for name in SPECS if name not in MICRO]


@pytest.fixture(params=MICRO)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 10, 64, 64, generator=torch.Generator().manual_seed(0))


def build(name: str, **kwargs: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **kwargs).eval()


@pytest.mark.parametrize("name", BIG)
def test_every_model__maps_as_feature_info_says_classifies_and_resets(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=5)
        final, maps = model.forward_intermediates(
            torch.zeros(1, 10, 224, 96), indices=list(SPECS[name].out_indices)
        )
        assert model.forward_head(final).shape == (1, 5)
    told = [model.feature_info[index] for index in SPECS[name].out_indices]
    assert [tuple(m.shape[1:]) for m in maps] == [
        (info["num_chs"], 224 // info["reduction"], 96 // info["reduction"]) for info in told
    ]
    assert model.get_classifier().out_features == 5
    model.reset_classifier(0)
    assert model.forward_head(final).shape == (1, model.num_features)
    assert model.head_hidden_size == model.num_features


@pytest.mark.parametrize("name", SPECS)
def test_every_model__is_listed_and_configured(name: str) -> None:
    assert timm.is_model(name)
    assert name in timm.list_models("*deo_*")
    cfg = timm.get_pretrained_cfg(name)
    assert cfg.architecture == name
    assert cfg.first_conv is None
    assert cfg.input_size[0] == len(cfg.mean) == len(cfg.std) == 10
    assert cfg.license == "mit"


def test_pretrained_models__carry_their_tag() -> None:
    listed = set(timm.list_pretrained("deo_*"))
    assert {"deo_swin_b.fmow", "deo_vit_b.fmow"} <= listed
    assert timm.get_pretrained_cfg("deo_swin_b.fmow").hf_hub_filename == "DEO_swin_b.pth"


def test_features_only__maps_are_nchw_for_both_stems(name: str, image: torch.Tensor) -> None:
    model = build(name, features_only=True)
    for x in (image, image[:, :3]):
        maps = model(x)
        assert [tuple(m.shape[:2]) for m in maps] == [(2, c) for c in model.feature_info.channels()]
        for m, reduction in zip(maps, model.feature_info.reduction(), strict=True):
            assert tuple(m.shape[2:]) == (64 // reduction, 64 // reduction)
            assert m.is_contiguous()


@pytest.mark.parametrize("out_indices", [(0,), (1, 2), (-1,), (-2, -1), 2])
def test_features_only__out_indices_choose(
    name: str, image: torch.Tensor, out_indices: tuple[int, ...]
) -> None:
    every = build(name, features_only=True)(image)
    wanted = (
        every[-out_indices:] if isinstance(out_indices, int) else [every[i] for i in out_indices]
    )
    found = build(name, features_only=True, out_indices=out_indices)(image)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w)


def test_forward_intermediates__agree_with_forward_features(name: str, image: torch.Tensor) -> None:
    model = build(name)
    wanted = model.forward_features(image)
    final, maps = model.forward_intermediates(image, norm=True)
    torch.testing.assert_close(final, wanted)
    last = maps[-1].permute(0, 2, 3, 1)
    torch.testing.assert_close(last, final if final.ndim == 4 else final[:, 1:].view(last.shape))
    only = model.forward_intermediates(image, indices=[0, 2], intermediates_only=True)
    plain = model.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(only, [plain[0], plain[2]])
    (early,) = model.forward_intermediates(
        image, indices=[1], stop_early=True, intermediates_only=True
    )
    torch.testing.assert_close(early, plain[1])


def test_forward__is_features_then_head(name: str, image: torch.Tensor) -> None:
    model = build(name, num_classes=4)
    features = model.forward_features(image)
    torch.testing.assert_close(model(image), model.forward_head(features))
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)


def test_reset_classifier__makes_a_new_head_and_none(name: str, image: torch.Tensor) -> None:
    model = build(name)
    assert model(image).shape == (2, model.num_features)
    model.reset_classifier(7)
    assert model(image).shape == (2, 7)
    model.reset_classifier(0, "")
    assert model(image).ndim == (4 if hasattr(model, "layers") else 3)


def test_set_input_size__then_other_sizes_still_work(name: str, image: torch.Tensor) -> None:
    model = build(name)
    model.set_input_size((96, 128))
    assert model.patch_embed.img_size == (96, 128)
    assert model(image).shape == (2, model.num_features)
    assert build(name, img_size=96)(image).shape == (2, model.num_features)


def test_group_matcher__layer_decay_falls_towards_the_stem(name: str) -> None:
    model = build(name, num_classes=3)
    groups = create_optimizer_v2(model, opt="adamw", lr=1e-3, layer_decay=0.5).param_groups
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert scale.keys() == {id(p) for p in model.parameters()}
    scales = {n: scale[id(p)] for n, p in model.named_parameters()}
    stem = scales["patch_embed.ms.proj.weight"]
    assert stem == scales["patch_embed.rgb.proj.weight"] == min(scales.values())
    assert scales[next(n for n in scales if n.startswith("head."))] == 1.0
    assert len(set(scales.values())) > 4


def test_no_weight_decay__names_parameters_of_the_model(name: str) -> None:
    model = build(name)
    named = dict(model.named_parameters())
    skipped = model.no_weight_decay()
    assert skipped & named.keys()


def test_grad_checkpointing__changes_no_gradient(name: str, image: torch.Tensor) -> None:
    model = build(name, in_chans=10, drop_path_rate=0.0).train()
    model(image).square().sum().backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    model.set_grad_checkpointing()
    model(image).square().sum().backward()
    for n, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[n], msg=n)


def test_drop_path__acts_in_training_alone(name: str, image: torch.Tensor) -> None:
    model = build(name, drop_path_rate=0.9)
    torch.testing.assert_close(model(image), model(image))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(image), model(image))


def test_export__gives_the_same_numbers_for_any_batch(name: str, image: torch.Tensor) -> None:
    small = {"depths": (2,), "num_heads": (1,)} if "swin" in name else {"depth": 2}
    model = build(name, in_chans=10, **small)
    image = image[:, :, :, :56]
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(model, (image,), dynamic_shapes=({0: batch},)).module()
    five = image.repeat(3, 1, 1, 1)[:5]
    for example in (image, five):
        torch.testing.assert_close(exported(example), model(example), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit:", "ignore::torch.jit.TracerWarning")
def test_trace__gives_the_same_numbers_for_any_batch(name: str, image: torch.Tensor) -> None:
    model = build(name, in_chans=10)
    with torch.no_grad():
        traced = torch.jit.trace(model, image[:1])
        torch.testing.assert_close(traced(image), model(image), atol=1e-5, rtol=1e-5)


def test_fx__features_equal_the_getter(name: str, image: torch.Tensor) -> None:
    wanted = build(name, features_only=True)(image)
    found = build(name, features_only=True, feature_cls="fx")(image)
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        f = f.permute(0, 3, 1, 2) if f.ndim == 4 else f[:, 1:].transpose(1, 2).reshape(w.shape)
        torch.testing.assert_close(f, w)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile__gives_the_same_numbers_and_gradients(
    name: str, backend: str, image: torch.Tensor
) -> None:
    small = {"depths": (2,), "num_heads": (1,)} if "swin" in name else {"depth": 1}
    model = build(name, in_chans=10, **small)
    compiled = torch.compile(copy.deepcopy(model), backend=backend, fullgraph=True)
    example = image[:, :, :56]
    wanted, found = model(example), compiled(example)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    wanted.square().sum().backward()
    found.square().sum().backward()
    for left, right in zip(compiled.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, atol=1e-3, rtol=1e-3)


def test_autocast__keeps_the_features(name: str, image: torch.Tensor) -> None:
    model = build(name, in_chans=10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(image)
    assert torch.nn.functional.cosine_similarity(found.float(), model(image)).min() > 0.999


def test_deepcopy_and_state_dict__carry_everything(name: str, image: torch.Tensor) -> None:
    model = build(name)
    other = timm.create_model(name).eval()
    other.load_state_dict(model.state_dict())
    for same in (copy.deepcopy(model), other):
        assert torch.equal(same(image), model(image))


STEMS = [
    {},
    {"in_chans": 3},
    {"in_chans": 10},
    {"in_chans": 5},
    {"bands": ("B08", "B04", "B03")},
    {"num_classes": 6, "global_pool": "avg"},
    {"img_size": 96},
]


@pytest.mark.parametrize("kwargs", STEMS, ids=str)
def test_save_for_hf__comes_back_as_it_was(name: str, kwargs: dict, tmp_path: Path) -> None:
    model = build(name, **kwargs)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    back = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert back.patch_embed.widths == model.patch_embed.widths
    assert back.patch_embed.bands == model.patch_embed.bands
    assert back.state_dict().keys() == model.state_dict().keys()
    for width in model.patch_embed.widths.values():
        x = torch.randn(1, width, 64, 64)
        assert torch.equal(back(x), model(x))
    assert list(resolve_model_data_config(back)["mean"]) == list(
        resolve_model_data_config(model)["mean"]
    )


@pytest.mark.skipif(
    not hasattr(timm.models, "_input"), reason="timm records a new size since 1.0.31"
)
def test_save_for_hf__a_resized_model_keeps_its_size(name: str, tmp_path: Path) -> None:
    model = build(name)
    model.set_input_size((96, 128))
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    back = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = torch.randn(1, 10, 96, 128)
    assert torch.equal(back(x), model(x))


def test_save_for_hf__one_stem_or_other_bands_are_taken_out_of_both(
    name: str, tmp_path: Path
) -> None:
    model = build(name)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    source = f"local-dir:{tmp_path}"
    x = torch.randn(1, 10, 64, 64)
    single = timm.create_model(source, pretrained=True, in_chans=3).eval()
    assert single.patch_embed.widths == {"rgb": 3}
    torch.testing.assert_close(single(x[:, :3]), model(x[:, :3]))
    four = BandSet(("B02", "B08", "B8A", "B04"))
    other = timm.create_model(source, pretrained=True, bands=four.names).eval()
    at = list(four.positions_in(MODEL_BANDS.names))
    sparse = torch.zeros_like(x)
    sparse[:, at] = x[:, at]
    torch.testing.assert_close(other(x[:, at]), model(sparse), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("built", "asked", "widths"),
    [
        ({"in_chans": 10}, {"bands": ("B04", "B08")}, {"ms": 2}),
        ({"in_chans": 10}, {}, {"ms": 10}),
        ({"bands": ("B04", "B08", "B02", "B12")}, {"bands": ("B12", "B04")}, {"ms": 2}),
        ({}, {"in_chans": 10}, {"ms": 10}),
        ({}, {"in_chans": 10, "num_classes": 3}, {"ms": 10}),
    ],
    ids=str,
)
def test_save_for_hf__what_the_caller_says_goes_before_what_was_saved(
    name: str, built: dict, asked: dict, widths: dict, tmp_path: Path
) -> None:
    model = build(name, **built)
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    found = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, **asked)
    assert found.patch_embed.widths == widths
    wanted, weight = model.patch_embed.ms.proj.weight, found.patch_embed.ms.proj.weight
    at = [model.patch_embed.bands.index(band) for band in found.patch_embed.bands]
    assert torch.equal(weight, wanted[:, at])


@pytest.mark.parametrize(
    ("kwargs", "mean", "std"),
    [
        ({}, MODEL_BANDS.mean, MODEL_BANDS.std),
        ({"in_chans": 10}, MODEL_BANDS.mean, MODEL_BANDS.std),
        ({"in_chans": 3}, AERIAL_MEAN, AERIAL_STD),
        ({"bands": ("B02", "B12")}, BandSet(("B02", "B12")).mean, BandSet(("B02", "B12")).std),
        ({"in_chans": 4}, (0.0,) * 4, (1.0,) * 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("features_only", [True, False])
def test_resolve_model_data_config__describes_the_stem_built(
    name: str, kwargs: dict, mean: tuple, std: tuple, features_only: bool
) -> None:
    config = resolve_model_data_config(build(name, features_only=features_only, **kwargs))
    assert config["input_size"][0] == len(mean)
    assert tuple(config["mean"]) == tuple(mean)
    assert tuple(config["std"]) == tuple(std)


@pytest.mark.parametrize("model", ["deo_swin_b", "deo_vit_b", "deo_swin_t"])
@pytest.mark.parametrize("features_only", [True, False])
def test_pretrained__any_other_width_names_the_choices(model: str, features_only: bool) -> None:
    with pytest.raises(
        ModelError, match=r"in_chans=10 .*in_chans=3 .*not for 4.*bands=.*pretrained=False"
    ):
        timm.create_model(model, pretrained=True, in_chans=4, features_only=features_only)


def test_pretrained__without_weights_is_an_error_not_a_random_model(name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name} has no public weights"):
        timm.create_model(name, pretrained=True)


def test_pretrained_cfg_overlay__file_is_loaded_whole(
    name: str, tmp_path: Path, image: torch.Tensor
) -> None:
    model = build(name)
    path = tmp_path / "ours.pth"
    torch.save(model.state_dict(), path)
    overlay = {"file": str(path)}
    same = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    assert torch.equal(same(image), model(image))
    maps = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, features_only=True, out_indices=(0,)
    ).eval()
    torch.testing.assert_close(
        maps(image)[0], model.forward_intermediates(image, indices=[0], intermediates_only=True)[0]
    )
    resized = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=96, num_classes=3
    )
    assert resized(image).shape == (2, 3)


def test_config__stored_by_timm_is_json(name: str, tmp_path: Path) -> None:
    save_for_hf(build(name), str(tmp_path), safe_serialization=True)
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == name


def test_list_models__pretrained_names_those_that_have_weights() -> None:
    assert timm.list_models("deo_*", pretrained=True) == [
        "deo_swin_b.fmow",
        "deo_swin_n.s2",
        "deo_vit_b.fmow",
    ]
