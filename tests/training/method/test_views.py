from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, DataError
from deo.training.method import crops, views
from deo.training.method.views import make_views, view_places
from deo.training.method.viewspecs import ViewSpec, published_views

SPECS = published_views(global_size=33, local_size=18, n_local=3)
PLAIN = ViewSpec(
    size=24, area=(1.0, 1.0), aspect=(1.0, 1.0), horizontal_flip=0, jitter=0, grayscale=0
)


def some_images(count: int, bands: int = 10, size: int = 40) -> Tensor:
    return torch.rand(count, bands, size, size, generator=torch.Generator().manual_seed(0)) * 3000


def views_of(images: Tensor, samples: list[int], specs: tuple[ViewSpec, ...] = SPECS, **options):
    options = {"seed": 0, "epoch": 0} | options
    return make_views(images, torch.tensor(samples), specs, **options)


def assert_bit_equal(these: list[Tensor], those: list[Tensor]) -> None:
    for this, other in zip(these, those, strict=True):
        assert torch.equal(this, other)


def test_make_views__shapes_and_scale() -> None:
    made = views_of(some_images(5), [3, 1, 4, 1, 5])
    assert [view.shape for view in made] == [(5, 10, 33, 33)] * 2 + [(5, 10, 18, 18)] * 3
    assert all(view.dtype == torch.float32 for view in made)
    assert all(view.isfinite().all() and view.abs().max() < 12 for view in made)


@pytest.mark.parametrize("sizes", [(33, 18), (64, 32)])
def test_make_views__bit_equal_in_any_batch(sizes: tuple[int, int]) -> None:
    specs = published_views(*sizes, n_local=3)
    images = some_images(23, size=41)
    samples = list(range(100, 123))
    whole = views_of(images, samples, specs)
    for start, stop in ((0, 1), (7, 8), (3, 20), (22, 23)):
        part = views_of(images[start:stop], samples[start:stop], specs)
        assert_bit_equal(part, [view[start:stop] for view in whole])
    backwards = views_of(images.flip(0), samples[::-1], specs)
    assert_bit_equal(backwards, [view.flip(0) for view in whole])


def test_make_views__bit_equal_on_any_number_of_threads() -> None:
    images, specs = some_images(2, size=96), published_views(224, 96, n_local=1)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(views_of(images, [0, 1], specs))
            assert torch.get_num_threads() == threads
        with torch.inference_mode():
            assert_bit_equal(results[0], views_of(images, [0, 1], specs))
    finally:
        torch.set_num_threads(before)
    assert_bit_equal(results[0], results[1])
    assert_bit_equal(results[0], results[2])


def test_make_views__key_is_seed_epoch_sample_view() -> None:
    images = some_images(1).repeat(2, 1, 1, 1)
    base = views_of(images, [0, 1])
    assert_bit_equal(base, views_of(images, [0, 1]))
    assert_bit_equal(
        [v[0] for v in views_of(images, [7, 7])], [v[1] for v in views_of(images, [7, 7])]
    )
    for other in (views_of(images, [0, 1], seed=1), views_of(images, [0, 1], epoch=1)):
        assert not any(torch.equal(this, that) for this, that in zip(base, other, strict=True))
    assert not any(torch.equal(view[0], view[1]) for view in base)
    assert not torch.equal(base[2], base[3])


def test_make_views__an_option_moves_no_other_draw() -> None:
    images, spec = some_images(4), SPECS[2]
    bare = views_of(images, [0, 1, 2, 3], (replace(spec, blur=0.0),))[0]
    gained = views_of(
        images, [0, 1, 2, 3], (replace(spec, blur=0.0, band_gain=0.1, solarize=1.0),)
    )[0]
    mean, std = (torch.tensor(v)[3:, None, None] for v in (MODEL_BANDS.mean, MODEL_BANDS.std))
    ratio = (gained[:, 3:] * std + mean) / (bare[:, 3:] * std + mean)
    assert ratio.std((-1, -2)).max() < 1e-3  # the same crops, up to one factor a band


def plain_view(images: Tensor, size: int = 24) -> Tensor:
    """(B, C, size, size): whole images resized and z-scored, without chance."""
    view = torch.nn.functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
    rgb = (view[:, :3] / view[:, :3].amax((1, 2, 3), keepdim=True)).clamp(0, 1)
    mean = torch.tensor((*AERIAL_MEAN, *MODEL_BANDS.mean[3:]))[:, None, None]
    std = torch.tensor((*AERIAL_STD, *MODEL_BANDS.std[3:]))[:, None, None]
    return (torch.cat((rgb, view[:, 3:]), 1) - mean) / std


@pytest.mark.parametrize("size", [24, 64])
def test_make_views__without_chance_resize_and_z_score(size: int) -> None:
    images = some_images(3)
    view = views_of(images, [0, 1, 2], (replace(PLAIN, size=size),))[0]
    torch.testing.assert_close(view, plain_view(images, size), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("option", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_make_views__flips(option: str, axis: int) -> None:
    images = some_images(3)
    view = views_of(images, [0, 1, 2], (replace(PLAIN, **{option: 1.0}),))[0]
    torch.testing.assert_close(view, plain_view(images).flip(axis), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("option", "distinct"), [("common_gain", 1), ("band_gain", 7)])
def test_make_views__gains_touch_other_bands_only(option: str, distinct: int) -> None:
    images, samples = some_images(50), list(range(50))
    view = views_of(images, samples, (replace(PLAIN, **{option: 0.15}),))[0]
    plain = plain_view(images)
    torch.testing.assert_close(view[:, :3], plain[:, :3], atol=1e-5, rtol=0)
    mean, std = (torch.tensor(v)[3:, None, None] for v in (MODEL_BANDS.mean, MODEL_BANDS.std))
    gains = (view[:, 3:] * std + mean).mean((2, 3)) / (plain[:, 3:] * std + mean).mean((2, 3))
    assert 0.85 <= gains.min() < 0.87
    assert 1.13 < gains.max() <= 1.15
    assert [len(set(np.round(row, 4))) for row in gains.numpy()] == [distinct] * 50


@pytest.mark.parametrize("option", ["jitter", "grayscale", "blur", "solarize"])
def test_make_views__colour_probabilities(option: str) -> None:
    images, samples = some_images(300, size=16), list(range(300))
    spec = replace(PLAIN, size=12, **{option: 0.3})
    view = views_of(images, samples, (spec,))[0]
    changed = (view - plain_view(images, 12)).abs().amax((2, 3)) > 1e-3
    assert not changed[:, 3:].any()
    assert 0.22 < changed[:, :3].any(1).double().mean() < 0.38


def test_make_views__rgb_alone_equals_the_rgb_of_ten_bands() -> None:
    images = some_images(4)
    ten = views_of(images, [0, 1, 2, 3])
    three = views_of(images[:, :3], [0, 1, 2, 3], bands=RGB_BANDS)
    for one, other in zip(ten, three, strict=True):
        torch.testing.assert_close(one[:, :3], other, atol=1e-5, rtol=0)


def test_make_views__bands_in_any_order() -> None:
    images, order = some_images(4), [5, 2, 0, 9, 1, 3]
    bands = BandSet(MODEL_BANDS[i] for i in order)
    ten = views_of(images, [0, 1, 2, 3])
    mixed = views_of(images[:, order], [0, 1, 2, 3], bands=bands)
    for one, other in zip(ten, mixed, strict=True):
        torch.testing.assert_close(one[:, order], other, atol=1e-5, rtol=0)


def test_make_views__no_colours() -> None:
    images = some_images(2)[:, 3:]
    view = views_of(images, [0, 1], (replace(PLAIN, jitter=1.0),), bands=BandSet(MODEL_BANDS[3:]))[
        0
    ]
    torch.testing.assert_close(view, plain_view(some_images(2))[:, 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16])
def test_make_views__any_dtype(dtype: torch.dtype) -> None:
    images = (some_images(2) / 12).to(dtype)
    assert_bit_equal(views_of(images, [0, 1]), views_of(images.float(), [0, 1]))


def test_make_views__full_precision_under_autocast() -> None:
    expected = views_of(some_images(2), [0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_bit_equal(views_of(some_images(2), [0, 1]), expected)


def test_make_views__input_untouched() -> None:
    images = some_images(2)
    views_of(images, [0, 1])
    assert torch.equal(images, some_images(2))


def test_make_views__bad_input() -> None:
    with pytest.raises(DataError, match="wanted"):
        views_of(some_images(2)[:, :9], [0, 1])
    with pytest.raises(DataError, match="wanted"):
        views_of(some_images(2), [0, 1, 2])
    with pytest.raises(BandError, match="all of red"):
        views_of(some_images(2, bands=2), [0, 1], bands=BandSet(("B04", "B08")))


def test_make_views__form_for_a_gpu_equals_that_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = views_of(some_images(3), [0, 1, 2])
    monkeypatch.setattr(crops, "_resize_each", crops._resize_together)
    monkeypatch.setattr(views, "_CHUNK", 10**9)
    for one, other in zip(expected, views_of(some_images(3), [0, 1, 2]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.gpu
def test_make_views__gpu_equals_cpu() -> None:
    images, specs = some_images(6, size=96), published_views(224, 96, n_local=3)
    here = views_of(images, list(range(6)), specs)
    there = make_views(images.cuda(), torch.arange(6), specs, seed=0, epoch=0)
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=1e-4, rtol=0)


def test_view_places__is_where_the_views_lie() -> None:
    side, names = 40, ("B08", "B11")
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    images = torch.zeros(6, 10, side, side)
    images[:, MODEL_BANDS.names.index(names[0])] = 1000 + columns
    images[:, MODEL_BANDS.names.index(names[1])] = 1000 + rows
    samples, specs = list(range(6)), (replace(SPECS[0], vertical_flip=0.5), SPECS[2])
    made = views_of(images, samples, specs, seed=3, epoch=2)
    places = view_places(torch.tensor(samples), specs, height=side, width=side, seed=3, epoch=2)
    mirrored = torch.cat([place[:, [0, 1], [0, 1]] for place in places])
    assert (mirrored < 0).any(0).all(), "both mirrors were tried"
    for view, place in zip(made, places, strict=True):
        at = torch.nn.functional.affine_grid(place, list(view[:, :1].shape), align_corners=False)
        for axis, name in enumerate(names):
            band = MODEL_BANDS.names.index(name)
            pixels = view[:, band] * MODEL_BANDS.std[band] + MODEL_BANDS.mean[band]
            want = 1000 + (at[..., axis] + 1) / 2 * side - 0.5
            inner = slice(4, -4)  # a resize stops at the edge of the crop
            torch.testing.assert_close(
                pixels[:, inner, inner], want[:, inner, inner], atol=0.05, rtol=0
            )
