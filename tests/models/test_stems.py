"""Which stem a model has, which one an input takes, and what is refused."""

import pytest
import timm
import torch

from deo.bands import MODEL_BANDS
from deo.errors import BandError, ModelError
from deo.models.stems import stem_widths

NAMES = ["test_deo_swin", "test_deo_vit"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize(
    ("in_chans", "bands", "wanted"),
    [
        (None, None, {"ms": 10, "rgb": 3}),
        (3, None, {"rgb": 3}),
        (10, None, {"ms": 10}),
        (5, None, {"ms": 5}),
        (None, ("B04", "B08"), {"ms": 2}),
        (3, ("B08", "B04", "B03"), {"ms": 3}),
    ],
)
def test_stem_widths__follow_what_the_caller_said(in_chans, bands, wanted) -> None:
    assert stem_widths(in_chans, bands) == wanted


@pytest.mark.parametrize(("in_chans", "bands"), [(0, None), (-1, None), (4, ("B04", "B08"))])
def test_stem_widths__refuse_nonsense(in_chans, bands) -> None:
    with pytest.raises(ModelError, match=f"in_chans={in_chans}"):
        stem_widths(in_chans, bands)


def test_forward__channels_choose_the_stem(name: str) -> None:
    dual = timm.create_model(name).eval()
    x = torch.randn(1, 10, 64, 64)
    alone = {width: timm.create_model(name, in_chans=width).eval() for width in (3, 10)}
    for width, single in alone.items():
        own = {n: t for n, t in dual.state_dict().items() if n in single.state_dict()}
        single.load_state_dict(own)
        torch.testing.assert_close(single(x[:, :width]), dual(x[:, :width]))


@pytest.mark.parametrize("in_chans", [3, 10, 4])
def test_backward__an_explicit_stem_leaves_no_parameter_without_gradient(
    name: str, in_chans: int
) -> None:
    model = timm.create_model(name, in_chans=in_chans)
    model(torch.randn(2, in_chans, 64, 64)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_forward__wrong_channels_say_got_and_wanted(name: str) -> None:
    with pytest.raises(ModelError, match=r"got 4 channels.*10 \(ms stem\) or 3 \(rgb stem\)"):
        timm.create_model(name)(torch.zeros(1, 4, 64, 64))
    with pytest.raises(ModelError, match=r"got 10 channels.*takes 3 \(rgb stem\)$"):
        timm.create_model(name, in_chans=3)(torch.zeros(1, 10, 64, 64))


def test_forward__refuses_other_ranks_and_images_smaller_than_a_patch(name: str) -> None:
    model = timm.create_model(name, in_chans=10)
    with pytest.raises(ModelError, match=r"\(10, 64, 64\); wanted \(B, C, H, W\)"):
        model(torch.zeros(10, 64, 64))
    with pytest.raises(ModelError, match="64 x 3 pixels, smaller than one patch"):
        model(torch.zeros(1, 10, 64, 3))


def test_bands__build_a_stem_of_their_number_and_order(name: str) -> None:
    model = timm.create_model(name, bands=("nir", "red", "B12"))
    assert model.patch_embed.bands == ("B08", "B04", "B12")
    assert model.patch_embed.ms.proj.in_channels == 3
    assert not hasattr(model.patch_embed, "rgb")
    assert timm.create_model(name, bands="B04,B03").patch_embed.bands == ("B04", "B03")
    assert timm.create_model(name, in_chans=10).patch_embed.bands == MODEL_BANDS.names
    assert timm.create_model(name, in_chans=5).patch_embed.bands is None


def test_bands__unknown_ones_are_refused(name: str) -> None:
    with pytest.raises(BandError, match="B99"):
        timm.create_model(name, bands=("B99",))


def test_patch_embed__speaks_timms_language(name: str) -> None:
    stem = timm.create_model(name).patch_embed
    patch = stem.patch_size[0]
    assert stem.feat_ratio() == patch
    assert stem.feat_ratio(as_scalar=False) == (patch, patch)
    assert stem.dynamic_feat_size((130, 64)) == (130 // patch, 64 // patch)
    assert stem.num_patches == (64 // patch) ** 2
    with pytest.raises(ModelError, match="patch_size=5"):
        stem.set_input_size(patch_size=5)


def test_dynamic_img_pad__is_refused() -> None:
    with pytest.raises(ModelError, match="dynamic_img_pad"):
        timm.create_model("test_deo_vit", dynamic_img_pad=True)
