"""Every operator against torchvision's or kornia's on the same numbers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from deo.training.method import colour

CLOSE = {"atol": 2e-6, "rtol": 0.0}
OPERATORS: list[Callable[[Tensor, float], Tensor]] = [
    tv.adjust_brightness,
    tv.adjust_contrast,
    tv.adjust_saturation,
    tv.adjust_hue,
]


@pytest.fixture
def crops() -> Tensor:
    """(6, 3, 17, 33) with black, white, equal and two-valued pixels among the random ones."""
    images = torch.rand(6, 3, 17, 33, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0.0, 0.25, 1.0])
    images[:, :, 0, :27] = torch.cartesian_prod(levels, levels, levels).T
    return images


def planar(images: Tensor) -> Tensor:
    return images.transpose(0, 1).contiguous()


def test_grey__equals_torchvision(crops: Tensor) -> None:
    expected = tv.rgb_to_grayscale(crops)[:, 0]
    torch.testing.assert_close(colour.grey(planar(crops)), expected, **CLOSE)


def test_divide_by_peak__own_maximum_and_clamp() -> None:
    crops = torch.tensor([[200.0, -5.0], [50.0, 100.0], [0.0, 0.0]])[None, :, None].repeat(
        2, 1, 1, 1
    )
    crops[1] = 1e-7
    rgb = planar(crops)
    colour.divide_by_peak(rgb)
    assert rgb[:, 0, 0].tolist() == [[1.0, 0.0], [0.25, 0.5], [0.0, 0.0]]
    assert rgb[:, 1, 0].tolist() == [pytest.approx([1e-7] * 2)] * 3


@pytest.mark.parametrize("kind", [colour.BRIGHTNESS, colour.CONTRAST, colour.SATURATION])
def test_blend__equals_torchvision(crops: Tensor, kind: int) -> None:
    factors = np.linspace(0.3, 1.7, 6)
    rgb = planar(crops)
    colour.blend(rgb, np.full(6, kind), factors)
    expected = [OPERATORS[kind](crop, f) for crop, f in zip(crops, factors.tolist(), strict=True)]
    torch.testing.assert_close(rgb.transpose(0, 1), torch.stack(expected), **CLOSE)


def test_shift_hue__equals_torchvision(crops: Tensor) -> None:
    shifts = np.array([-0.5, -0.1, 0.0, 0.05, 0.1, 0.5])
    rgb = planar(crops)
    colour.shift_hue(rgb, shifts)
    expected = [tv.adjust_hue(crop, s) for crop, s in zip(crops, shifts.tolist(), strict=True)]
    torch.testing.assert_close(rgb.transpose(0, 1), torch.stack(expected), **CLOSE)


def test_jitter__every_order_equals_torchvision() -> None:
    crops = torch.rand(24, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    orders = colour.ORDERS[np.argsort((colour.ORDERS == colour.HUE).argmax(1), kind="stable")]
    factors = np.random.default_rng(0).uniform(0.6, 1.4, (24, 4))
    factors[:, colour.HUE] -= 1.0
    rgb = planar(crops)
    colour.jitter(rgb, orders, factors)
    expected = []
    for crop, order, factor in zip(crops, orders, factors, strict=True):
        for kind in order:
            crop = OPERATORS[kind](crop, float(factor[kind]))
        expected.append(crop)
    torch.testing.assert_close(rgb.transpose(0, 1), torch.stack(expected), atol=5e-6, rtol=0)


def test_solarize__equals_torchvision(crops: Tensor) -> None:
    crops[0, 0, 1, :2] = 0.5
    rgb = colour.solarize(planar(crops)).transpose(0, 1)
    torch.testing.assert_close(rgb, tv.solarize(crops, 0.5), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((17, 33), 23), ((96, 70), 23), ((12, 12), 23), ((200, 150), 23), ((8, 9), 5)],
)
def test_gaussian_blur__equals_kornia(shape: tuple[int, int], kernel: int) -> None:
    crops = torch.rand(3, 3, *shape, generator=torch.Generator().manual_seed(0))
    sigmas = np.array([0.1, 0.9, 2.0])
    blurred = colour.gaussian_blur(planar(crops), sigmas, kernel).transpose(0, 1)
    expected = gaussian_blur2d(
        crops, (kernel, kernel), torch.tensor(sigmas).float()[:, None].repeat(1, 2), "reflect"
    )
    torch.testing.assert_close(blurred, expected, **CLOSE)


def choices(**masks: list[bool]) -> colour.Choices:
    count = 4
    fields = {name: np.zeros(count, bool) for name in ("jitter", "grayscale", "blur", "solarize")}
    fields |= {name: np.array(mask) for name, mask in masks.items()}
    factors = np.tile([1.3, 0.7, 1.2, 0.08], (count, 1))
    order, sigma = np.array([23, 0, 9, 14]), np.full(count, 1.5)
    return colour.Choices(**fields, order=order, factors=factors, sigma=sigma, kernel=5)


def test_augment__each_crop_by_its_own_choices() -> None:
    crops = torch.rand(4, 3, 11, 11, generator=torch.Generator().manual_seed(2)) * 300
    yes = choices(
        jitter=[True, False, True, True],
        grayscale=[False, True, False, True],
        blur=[True, False, False, True],
        solarize=[False, False, True, True],
    )
    rank = yes.ranking()
    made = torch.empty_like(crops)
    rgb = planar(crops[rank])
    colour.augment(rgb, yes.part(rank), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    made[rank] = rgb.transpose(0, 1)
    for n, crop in enumerate(crops):
        crop = (crop / crop.amax()).clamp(0, 1)
        for kind in colour.ORDERS[yes.order[n]] if yes.jitter[n] else ():
            crop = OPERATORS[kind](crop, float(yes.factors[n, kind]))
        crop = tv.rgb_to_grayscale(crop, 3) if yes.grayscale[n] else crop
        if yes.blur[n]:
            crop = gaussian_blur2d(crop[None], (5, 5), (1.5, 1.5), "reflect")[0]
        crop = tv.solarize(crop, 0.5) if yes.solarize[n] else crop
        crop = tv.normalize(crop, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
        torch.testing.assert_close(made[n], crop, atol=2e-5, rtol=0)
